// The authenticator's own code as a device: it enrols, then answers the prompts that it reads, one a line.
'use strict';
const fs = require('fs'), vm = require('vm'), readline = require('readline');
const [lib, base, code, subscription] = process.argv.slice(2);
globalThis.crypto ??= require('crypto').webcrypto;
vm.runInThisContext(fs.readFileSync(lib, 'utf8'), lib);
const print = value => console.log(JSON.stringify(value));

(async () => {
  const authenticator = vm.runInThisContext('authenticator');
  const device = await authenticator.enrol(base, code, JSON.parse(subscription), 'Node');
  print({...device, keys: undefined, extractable: device.keys && device.keys.privateKey.extractable});
  // Another user's device comes first, as in a browser that two people use.
  const other = {id: '01900000-0000-7000-8000-000000000000', keys: device.keys};
  for await (const line of readline.createInterface({input: process.stdin})) {
    const {id, challenge, says, agent} = JSON.parse(line);
    print(agent ? authenticator.browserOf(agent) : await authenticator.answer(base, [other, device], id, challenge, says));
  }
})();
