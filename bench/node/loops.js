'use strict';
/* graphql/dataloader on node as a contender of `make bench-threads`: loops of `await load(new key)` side
 * by side in one event loop, in place of threads. argv: the folder with node_modules, and the path
 * of call_server, whose protocol is in bench/calls.h. Takes and answers what bench/threads.c does. */

const net = require('net');
const { findLoader, serve } = require('./serve.js');

const { DataLoader, version } = findLoader(process.argv[2]);
const serverPath = process.argv[3];

const BATCH = 100;
const CAPACITY = 10000;
const CALL_NS = 200000;
const MEMORY_STRIDE = 16; /* one of so many loads is timed */
const VALUE_BYTES = 32;
const HEAD_BYTES = 16;

let connections = []; /* all of them, free or not */
let free = []; /* as many as there may be calls at once, so one is always free */
let calls = { calls: 0, keys: 0, largest: 0 };

const keyNumber = (i) => Math.imul(i | 0, 2654435761 | 0) & 0x3fffffff;
const valueOf = (k) => ({ a: k, b: k + 1, c: k + 2, d: k + 3 });

/* A connection carries one call at a time, like those of the other contenders. */
class Connection {
  constructor() {
    this.request = Buffer.alloc(HEAD_BYTES + BATCH * 8);
    this.reply = Buffer.alloc(BATCH * VALUE_BYTES);
    this.socket = net.connect(serverPath);
    this.socket.on('data', (bytes) => this.receive(bytes));
    this.socket.on('error', (error) => this.reject && this.reject(error));
  }

  ask(keys) {
    this.request.writeBigUInt64LE(process.hrtime.bigint(), 0); /* CLOCK_MONOTONIC, as in C */
    this.request.writeBigUInt64LE(BigInt(keys.length), 8);
    for (let i = 0; i < keys.length; i++) {
      this.request.writeUInt32LE(keys[i], HEAD_BYTES + i * 8); /* below 2^30: the rest stays 0 */
    }
    this.have = 0;
    this.want = keys.length * VALUE_BYTES;
    return new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
      this.socket.write(this.request.subarray(0, HEAD_BYTES + keys.length * 8));
    });
  }

  receive(bytes) {
    this.have += bytes.copy(this.reply, this.have);
    if (this.have < this.want) return;
    const values = new Array(this.want / VALUE_BYTES);
    for (let i = 0; i < values.length; i++) {
      const at = i * VALUE_BYTES; /* words below 2^32, as their keys are */
      values[i] = {
        a: this.reply.readUInt32LE(at),
        b: this.reply.readUInt32LE(at + 8),
        c: this.reply.readUInt32LE(at + 16),
        d: this.reply.readUInt32LE(at + 24),
      };
    }
    this.resolve(values);
  }
}

function count(keys) {
  calls.calls++;
  calls.keys += keys.length;
  calls.largest = Math.max(calls.largest, keys.length);
}

function fetchInMemory(keys) {
  count(keys);
  return Promise.resolve(keys.map(valueOf));
}

async function fetchFromServer(keys) {
  const connection = free.pop();
  const values = await connection.ask(keys);
  free.push(connection);
  count(keys);
  return values;
}

async function openConnections(n) {
  while (connections.length < n) {
    const connection = new Connection();
    await new Promise((resolve, reject) => {
      connection.socket.once('connect', resolve);
      connection.socket.once('error', reject);
    });
    connections.push(connection);
    free.push(connection);
  }
}

async function run(a) {
  const nLoops = a.threads;
  const stride = a.memory ? MEMORY_STRIDE : 1;
  const callNs = a.memory ? 0 : CALL_NS;
  const loader = new DataLoader(a.memory ? fetchInMemory : fetchFromServer, { maxBatchSize: BATCH });
  let nHeld = 0;
  let nLoads = 0;
  let sum = 0;
  let wrong = 0;
  const added = [];
  await openConnections(a.memory ? 0 : nLoops);

  /* The loader is new in each round, so all keys are. */
  async function loadNext(key) {
    if (nHeld++ === CAPACITY) {
      loader.clearAll(); /* its map has no bound */
      nHeld = 1;
    }
    const v = await loader.load(key);
    if (v.a !== key || v.b !== key + 1 || v.c !== key + 2 || v.d !== key + 3) wrong++;
  }

  const now = () => Number(process.hrtime.bigint() - origin);
  const origin = process.hrtime.bigint();
  const beginNs = a.warm_ms * 1e6;
  const endNs = beginNs + a.ms * 1e6;
  let cpu = null;
  async function loop(number) {
    let at = number;
    /* As in threads.c: on a busy machine at least one load counts. */
    for (let startNs = now(); startNs < endNs || cpu === null; ) {
      const measured = startNs >= beginNs;
      if (measured && cpu === null) {
        cpu = process.cpuUsage();
        calls = { calls: 0, keys: 0, largest: 0 };
      }
      let tookNs = 0;
      let loopSum = 0;
      for (let i = 0; i < stride; i++) {
        const key = keyNumber(at);
        at += nLoops;
        loopSum += key;
        await loadNext(key);
        if (i === 0) tookNs = now() - startNs;
      }
      if (measured) {
        added.push(Math.max(tookNs - callNs, 0));
        nLoads += stride;
        sum += loopSum;
      }
      startNs = now();
    }
  }

  await Promise.all(Array.from({ length: nLoops }, (_, i) => loop(i)));
  const used = process.cpuUsage(cpu);
  if (wrong !== 0 || nLoads === 0) throw new Error(`${wrong} wrong values in ${nLoads} loads`);
  added.sort((x, y) => x - y);
  const percentile = (p) => Math.round(added[Math.floor((added.length * p) / 100)]);
  return {
    n_ops: nLoads,
    wall_ns: a.ms * 1e6,
    checksum: sum,
    ...calls,
    p50_ns: percentile(50),
    p99_ns: percentile(99),
    used_ns: (used.user + used.system) * 1000,
  };
}

serve(`dataloader ${version} from npm, loops of await in one event loop, a free connection per call, ` +
  'default Map as cache, emptied at the capacity', { run });
