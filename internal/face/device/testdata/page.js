// The authenticator's page in as little of a browser as it needs. A newer prompt comes before the server has answered what
// its person says of the one before: it prints which prompts are left, and the one that is shown. Or the browser connects
// that has a subscription for another key: it prints for which one it has one then.
'use strict';
const fs = require('fs'), vm = require('vm');
const [script, kind] = process.argv.slice(2);

const element = () => ({
  children: [], listeners: {},
  addEventListener(event, f) { this.listeners[event] = f; },
  replaceChildren(...all) { this.children = all; },
  focus() {},
});
const elements = {}, byID = id => elements[id] ??= element();
const worker = element();

const prompt = (id, received) => ({verification_id: id, received, expires_at: '2999-01-01T00:00:00Z', prompt: {challenge: 'challenge of ' + id, choices: [10, 20, 30], asker: id, started_at: '2026-01-01T00:00:00Z'}});
const messages = new Map([['older', prompt('older', 1)]]);
let tell;
const authenticator = {
  all: async () => [{id: 'device'}],
  put: async (_, m) => { messages.set(m.verification_id, m); },
  remove: async (_, id) => { messages.delete(id); },
  current: async () => [...messages.values()].sort((a, b) => b.received - a.received)[0],
  browserOf: () => '',
  enrol: async () => ({id: 'device'}),
  answer: () => new Promise(told => { tell = told; }),
};
let key = 'of before'; // of the browser's subscription
const pushManager = {
  getSubscription: async () => key && {unsubscribe: async () => { key = undefined; }},
  subscribe: async options => {
    if (key && key !== options.applicationServerKey) throw new DOMException('it has another key', 'InvalidStateError');
    key = options.applicationServerKey;
    return {toJSON: () => ({})};
  },
};
worker.register = async () => {};
worker.ready = Promise.resolve({pushManager});
const idle = () => new Promise(done => setImmediate(done));

(async () => {
  vm.runInNewContext(fs.readFileSync(script, 'utf8'), {
    authenticator, URL, setInterval: () => 0, clearInterval() {}, decodeURIComponent, location: {href: 'https://verify.example.com/device/', hash: ''},
    navigator: {serviceWorker: worker}, window: {PushManager: {}}, Notification: {requestPermission: async () => 'granted'},
    fetch: async () => ({ok: true, json: async () => ({vapid_key: 'of now'})}), document: {getElementById: byID, createElement: element, querySelectorAll: () => [], addEventListener() {}},
  });
  await idle();
  if (kind === 'connect') {
    byID('enrol-form').listeners.submit({preventDefault() {}});
    await idle();
    console.log(JSON.stringify({key, says: byID('status').textContent}));
    return;
  }
  if (kind === 'deny') byID('deny').listeners.click();
  else byID('choices').children[0].listeners.click();
  messages.set('newer', prompt('newer', 2));
  worker.listeners.message();
  await idle();
  tell(kind === 'deny' ? {accepted: true, status: 'canceled'} : {accepted: false, status: 'pending', reason: kind, challenge: 'next of older'});
  await idle();
  const left = Object.fromEntries([...messages].map(([id, m]) => [id, m.prompt.challenge]));
  console.log(JSON.stringify({left, shown: byID('facts').children[1].textContent}));
})();
