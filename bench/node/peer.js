'use strict';
/* graphql/dataloader on node as a contender of `make bench-load`: same keys and same work as
 * bench/load_ours.c, over the line protocol of bench/harness.h. */

const { findLoader, serve } = require('./serve.js');

const { DataLoader, version } = findLoader(process.argv[2]);

const BATCH = 100;
const WAITERS = 1000;
const HIT_LIST = 1 << 16;
const REQUEST_KEYS = 10;

let capacity = 100000;
let loader = null;
let nHeld = 0; /* keys in the loader's map */

const keyNumber = (i) => Math.imul(i | 0, 2654435761 | 0) & 0x3fffffff;
const fetchMany = (keys) => Promise.resolve(keys.map((k) => ({ a: k, b: k + 1, c: k + 2, d: k + 3 })));
const makeLoader = () => new DataLoader(fetchMany, { maxBatchSize: BATCH });

/* The map of a DataLoader has no bound: emptied whenever it reaches the capacity of the other side. */
function makeRoom(nKeys) {
  if (nHeld + nKeys > capacity) {
    loader.clearAll();
    nHeld = 0;
  }
  nHeld += nKeys;
}

async function loadRange(first, n) {
  let sum = 0;
  const keys = new Array(BATCH);
  for (let done = 0; done < n; done += BATCH) {
    for (let i = 0; i < BATCH; i++) keys[i] = keyNumber(first + done + i);
    makeRoom(BATCH);
    const out = await loader.loadMany(keys);
    for (let i = 0; i < BATCH; i++) sum += out[i].a;
  }
  return sum;
}

/* cpu_ns is left out: the collector and the compiler of node run on threads of their own. */
async function timed(nOps, body) {
  const start = process.hrtime.bigint();
  const checksum = await body();
  const wallNs = process.hrtime.bigint() - start;
  return { n_ops: nOps, wall_ns: wallNs, checksum };
}

const commands = {
  async setup(a) {
    capacity = a.capacity || 100000;
    loader = makeLoader();
    nHeld = 0;
    await loadRange(0, a.fill || 0);
    return {};
  },

  load_many: (a) => timed(a.n, () => loadRange(a.first, a.n)),

  start_complete: (a) => timed(a.n, async () => {
    let sum = 0;
    for (let done = 0; done < a.n; done += BATCH) {
      const all = new Array(BATCH);
      makeRoom(BATCH);
      for (let i = 0; i < BATCH; i++) all[i] = loader.load(keyNumber(a.first + done + i));
      const out = await Promise.all(all);
      for (let i = 0; i < BATCH; i++) sum += out[i].a;
    }
    return sum;
  }),

  async join(a) {
    let sum = 0;
    let wallNs = 0n;
    for (let k = 0; k < a.n; k++) {
      const key = keyNumber(a.first + k);
      const all = new Array(WAITERS);
      makeRoom(1);
      all[0] = loader.load(key);
      const start = process.hrtime.bigint();
      for (let i = 1; i < WAITERS; i++) all[i] = loader.load(key);
      if (!a.deliver) wallNs += process.hrtime.bigint() - start;
      const out = await Promise.all(all);
      if (a.deliver) wallNs += process.hrtime.bigint() - start;
      for (let i = 0; i < WAITERS; i++) sum += out[i].a;
    }
    return { n_ops: a.n * (WAITERS - 1), wall_ns: wallNs, checksum: sum };
  },

  async hit(a) {
    const held = Math.floor((capacity * 9) / 10);
    loader.clearAll();
    nHeld = 0;
    await loadRange(a.first, capacity);
    const list = new Array(HIT_LIST);
    let x = 1;
    for (let i = 0; i < HIT_LIST; i++) {
      x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
      list[i] = keyNumber(a.first + capacity - 1 - ((x >>> 8) % held));
    }
    return timed(a.passes * HIT_LIST, async () => {
      let sum = 0;
      for (let p = 0; p < a.passes; p++) {
        for (let i = 0; i < HIT_LIST; i++) sum += (await loader.load(list[i])).a;
      }
      return sum;
    });
  },

  request: (a) => timed(a.n, async () => {
    let sum = 0;
    for (let r = 0; r < a.n; r++) {
      const l = makeLoader();
      if (!a.use) continue;
      for (let part = 0; part < 2; part++) {
        const keys = new Array(REQUEST_KEYS);
        for (let i = 0; i < REQUEST_KEYS; i++) {
          keys[i] = keyNumber(a.first + r * REQUEST_KEYS * 2 + part * (REQUEST_KEYS / 2) + i);
        }
        const out = await l.loadMany(keys);
        for (let i = 0; i < REQUEST_KEYS; i++) sum += out[i].a;
      }
    }
    return sum;
  }),
};

serve(`dataloader ${version} from npm, default Map as cache, emptied at the capacity`, commands);
