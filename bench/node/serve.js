'use strict';
/* The line protocol of bench/harness.h for contenders that run on node. */

const readline = require('readline');
const path = require('path');

/* graphql/dataloader and its version, from the folder that has node_modules: nothing is installed
 * among the sources. */
function findLoader(folder) {
  const at = path.join(path.resolve(folder || __dirname), 'node_modules', 'dataloader');
  return { DataLoader: require(at), version: require(path.join(at, 'package.json')).version };
}

/* Serves commands, { name: async (args) => answer }, from standard input until it ends. */
async function serve(note, commands) {
  console.log('name graphql/dataloader');
  console.log(`note ${note}`);
  console.log(`compiler node ${process.version}`);
  console.log('flags none');
  console.log('ready');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [name, ...words] = line.trim().split(' ');
    const args = {};
    for (const word of words) {
      const [key, value] = word.split('=');
      args[key] = Number(value);
    }
    try {
      if (!Object.hasOwn(commands, name)) throw new Error(`unknown command ${name}`);
      const answer = await commands[name](args);
      console.log(['ok', ...Object.entries(answer).map(([k, v]) => `${k}=${v}`)].join(' '));
    } catch (error) {
      console.log(`error ${String(error.message).split('\n')[0]}`);
    }
  }
  process.exit(0); /* open connections would keep it alive */
}

module.exports = { findLoader, serve };
