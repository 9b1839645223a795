// The authenticator's scripts in as little of a browser as they need: what happens is said by the last argument, and what
// comes of it is printed. Two service workers' registrations, a database and the server are stand-ins.
'use strict';
const fs = require('fs'), path = require('path'), vm = require('vm');
const [script, sdk, what] = process.argv.slice(2);
const [kind, ...more] = what.split(' ');
const read = name => fs.readFileSync(path.join(sdk, name), 'utf8');
// later lets everything go on that can: nothing here takes longer than some turns of the loop.
async function later() {
  for (let turn = 0; turn < 200; turn++) await new Promise(done => setImmediate(done));
}

// A database as IndexedDB's, of which the scripts use little.
const stores = {devices: new Map(), messages: new Map()};
const keys = {devices: 'id', messages: 'verification_id'};
const indexedDB = {open() {
  const opening = {result: {close() {}, transaction: name => {
    const transaction = {objectStore: () => ({
      getAll: () => ({result: [...stores[name].values()]}),
      put: value => { stores[name].set(value[keys[name]], value); return {}; },
      delete: key => { stores[name].delete(key); return {}; },
    })};
    setImmediate(() => transaction.oncomplete());
    return transaction;
  }}};
  setImmediate(() => opening.onsuccess());
  return opening;
}};

const element = () => ({
  children: [], listeners: {}, dataset: {},
  addEventListener(event, f) { this.listeners[event] = f; },
  replaceChildren(...all) { this.children = all; },
  focus() {},
});
const elements = {}, byID = id => elements[id] ??= element();

// Registrations by their scopes.
const registrations = new Map();
const container = {
  listeners: {}, addEventListener(event, f) { this.listeners[event] = f; },
  async register(worker, {scope}) {
    let subscription;
    const registration = {
      scope, active: {state: 'activated', addEventListener() {}}, unregister: async () => registrations.delete(scope),
      pushManager: {subscribe: async () => { subscription = scope; return {toJSON: () => ({endpoint: scope, keys: {}})}; }},
    };
    registrations.set(scope, registration);
    return registration;
  },
  getRegistration: async scope => registrations.get(scope),
};

// The server: it takes codes that name a user, and answers by the device's id.
const now = Date.parse('2026-01-01T00:00:00Z'), asked = [], owners = new Map();
let answered = {accepted: true, status: 'approved'}, respond = async () => answered;
async function fetch(url, request) {
  const json = (status, body) => ({status, ok: status < 400, json: async () => body});
  if (url.endsWith('settings')) {
    if (more.join(' ') === 'unknown') throw new Error('unreachable');
    return json(200, {vapid_key: 'key', now: new Date(now).toISOString()});
  }
  const body = JSON.parse(request.body);
  if (url.endsWith('enrolments')) {
    if (body.code === 'wrong') return json(404, {code: 'no_enrolment'});
    owners.set(body.code, body.endpoint);
    return json(200, {device_id: body.code, asker: 'Shop', owner: body.code.split(' ')[0]});
  }
  asked.push(body.device_id);
  return json(200, await respond(body));
}

const ahead = {'a day ahead': 86400e3, 'a day behind': -86400e3}[more.join(' ')] || 0;
class Clock extends Date {
  static now() { return now + ahead; }
}
const browser = languages => ({
  indexedDB, fetch, URL, TextEncoder, btoa, setInterval: () => 0, clearInterval() {}, Date: Clock, decodeURIComponent, history: {replaceState() {}},
  crypto: {randomUUID: () => String(registrations.size + owners.size), subtle: {generateKey: async () => ({privateKey: {}}), exportKey: async () => [], sign: async () => []}},
  location: {href: 'https://verify.example.com/device/', hash: kind === 'link' ? '#' + more[0] : ''},
  navigator: {serviceWorker: container, languages, userAgent: 'Firefox'}, window: {PushManager: {}}, Notification: {requestPermission: async () => 'granted'},
  document: {getElementById: byID, createElement: element, querySelectorAll: () => [], addEventListener() {}, documentElement: {}},
});
const run = (context, ...texts) => { vm.createContext(context); for (const text of texts) vm.runInContext(text, context); return context; };
const openPage = () => run(browser(['en']), read('words.js'), read('lib.js'), fs.readFileSync(script, 'utf8'));

const prompt = (id, more) => ({
  id: 'message ' + id, verification_id: id, expires_at: '2026-01-01T00:10:00Z',
  prompt: {challenge: 'challenge of ' + id, choices: [10, 20, 30], asker: 'Shop', started_at: '2026-01-01T00:00:00Z'}, ...more,
});

const stories = {
  // A newer prompt comes before the server has answered what its person says of the one before.
  async answer([says]) {
    stores.devices.set('device', {id: 'device', keys: {privateKey: {}}});
    stores.messages.set('1 older', prompt('1 older'));
    openPage();
    await later();
    let tell;
    respond = () => new Promise(told => { tell = told; });
    if (says === 'deny') byID('deny').listeners.click();
    else byID('choices').children[0].listeners.click();
    stores.messages.set('2 newer', prompt('2 newer'));
    container.listeners.message();
    await later();
    tell(says === 'deny' ? {accepted: true, status: 'canceled'} : {accepted: false, status: 'pending', reason: says, challenge: 'next'});
    await later();
    const waiting = [...stores.messages.values()].filter(m => !m.done);
    return {left: Object.fromEntries(waiting.map(m => [m.verification_id, m.prompt.challenge])), choices: byID('choices').children.length};
  },

  async users() {
    const page = openPage(), says = [];
    const connect = async code => {
      byID('code').value = code;
      byID('enrol-form').listeners.submit({preventDefault() {}});
      await later();
    };
    await connect('ada 1');
    await connect('eve');
    await connect('ada 2');
    says.push(byID('status').textContent);
    await connect('wrong');
    says.push(byID('status').textContent);
    const kept = [...stores.devices.values()];
    stores.messages.set('1', {...prompt('1'), scope: kept.find(d => d.id === 'eve').scope});
    container.listeners.message();
    await later();
    byID('choices').children[0].listeners.click();
    await later();
    const users = kept.filter(d => registrations.has(d.scope)).map(d => 'key of ' + d.owner).sort();
    return {subscriptions: registrations.size === kept.length ? users : [...registrations.keys()], kept: kept.map(d => d.id).sort(), asked, says};
  },

  async clock() {
    stores.devices.set('device', {id: 'device', keys: {}});
    stores.messages.set('dead', prompt('dead', {expires_at: '2025-12-31T23:59:59Z'}));
    stores.messages.set('live', prompt('live'));
    const page = openPage();
    await later();
    return {shown: vm.runInContext('message.verification_id', page), left: [...stores.messages.keys()].sort()};
  },

  async pushes() {
    const notified = [], tags = new Set(), listeners = {};
    const self = {
      addEventListener: (event, f) => { listeners[event] = f; }, location: {href: 'https://verify.example.com/device/worker.js'}, clients: {matchAll: async () => []},
      registration: {scope: 'https://verify.example.com/device/of/1/', showNotification: async (title, {tag}) => { notified.push(title); tags.add(tag); }},
    };
    const context = run({...browser(['en']), self}, read('words.js'), read('lib.js'), 'function importScripts() {}', read('worker.js'));
    const push = async data => {
      let over;
      listeners.push({data, waitUntil: p => { over = p; }});
      await over;
    };
    const json = value => ({json: () => value});
    await push(json(prompt('2 newer')));
    await push(json({id: 'c', verification_id: '1 older', expires_at: '2026-01-01T00:10:00Z', code: '1', body: 'Your code'}));
    await push(null);
    const current = async () => (await vm.runInContext('authenticator.current', context)(now))?.verification_id;
    const first = await current();
    await vm.runInContext('authenticator.done', context)(stores.messages.get('2 newer'));
    await push(json(prompt('2 newer'))); // once more
    return {notified, tags: tags.size, current: first, afterwards: await current()};
  },

  // A page of a company's own, by the module.
  async sdk() {
    Object.assign(globalThis, {indexedDB, fetch, Date: Clock, navigator: {serviceWorker: {...container, startMessages() {}, addEventListener: (event, f) => { container.listeners[event] = f; }}}, document: {baseURI: 'https://shop.example.com/account'}});
    const {Authenticator} = await import(require('url').pathToFileURL(path.resolve(sdk, 'index.js')));
    const authenticator = new Authenticator({server: 'https://verify.example.com', worker: '/countersign/worker.js'});
    let refused;
    await authenticator.connect('wrong').catch(err => { refused = err.code; });
    const {id} = await authenticator.connect('ada 1');
    const scope = stores.devices.get(id).scope, seen = [];
    const stop = authenticator.watch(() => seen.push('changed'));
    stores.messages.set('1', {...prompt('1'), scope});
    container.listeners.message();
    const message = await authenticator.pending();
    answered = {accepted: false, status: 'pending', reason: 'wrong_number', challenge: 'next', attempts_remaining: 4};
    const wrong = await authenticator.answer(message, '10');
    answered = {accepted: true, status: 'approved', attempts_remaining: 0};
    const right = await authenticator.answer({...message, prompt: {...message.prompt, challenge: wrong.challenge}}, '20');
    const left = await authenticator.pending();
    await authenticator.forget(id);
    return {refused, scope: scope.slice(0, scope.indexOf('/of/') + 4), seen, wrong: wrong.reason, right: right.status, left, asked, devices: await authenticator.devices(), registrations: registrations.size};
  },

  async link() {
    openPage();
    await later();
    return {code: byID('code').value};
  },

  // All tables, and which of them browsers with the languages that follow read.
  async words(choices) {
    const of = languages => run(browser(languages), read('words.js')).words;
    const {tables} = of(['en']), wrong = [], places = text => (text.match(/\{\d\}/g) || []).sort().join();
    for (const [language, table] of Object.entries(tables)) {
      for (const key of new Set([...Object.keys(tables.en), ...Object.keys(table)])) {
        if (!table[key] || !(key in tables.en) || places(table[key]) !== places(tables.en[key])) wrong.push(language + ' ' + key);
      }
    }
    const chosen = choices.map(languages => of(languages.split(','))).map(w => w.language + ' ' + w.direction);
    return {languages: Object.keys(tables).sort(), wrong, chosen};
  },
};

stories[kind](more).then(got => console.log(JSON.stringify(got)));
