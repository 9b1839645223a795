// What pages and the service worker have in common. A page's script tag, a worker's importScripts and a module's import
// all load it: it only sets globalThis.authenticator. index.js says what is an interface.
'use strict';

globalThis.authenticator = (() => {
  const algorithm = {name: 'ECDSA', namedCurve: 'P-256'};

  const base64url = bytes => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

  // newKeys makes the browser's key for one user. Its private half can't be read, only used.
  const newKeys = () => crypto.subtle.generateKey(algorithm, false, ['sign', 'verify']);

  const publicKey = async keys => base64url(await crypto.subtle.exportKey('raw', keys.publicKey));

  // post sends JSON to the server, and returns its answer with the status.
  async function post(url, body) {
    const response = await fetch(url, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)});
    return {http: response.status, ...await response.json()};
  }

  // settings are what the server tells everybody, with how far this browser's clock is behind the server's.
  async function settings(base) {
    const before = Date.now();
    const response = await fetch(base + 'v1/settings', {cache: 'no-store'});
    const got = {http: response.status, ...await response.json()};
    return {...got, behind: got.now ? Date.parse(got.now) - (before + Date.now()) / 2 : undefined};
  }

  // respond says something of a prompt with one device's key: a number, or deny.
  async function respond(base, device, id, challenge, says) {
    const text = ['countersign answer 1', id, device.id, challenge, says].join('\n');
    const signature = await crypto.subtle.sign({name: 'ECDSA', hash: 'SHA-256'}, device.keys.privateKey, new TextEncoder().encode(text));
    return post(base + 'v1/answers', {verification_id: id, device_id: device.id, challenge, answer: says, signature: base64url(signature)});
  }

  // answer says it with the key of the device that the prompt is for: the one that got the push, where that is known.
  // Where the challenge is an old one, it signs a denial once more. A number may have been picked among choices of which
  // somebody has tried one by now, so its person has to type it.
  async function answer(base, devices, id, challenge, says) {
    let last = {http: 404, code: 'no_prompt'};
    for (const device of devices) {
      last = await respond(base, device, id, challenge, says);
      if (last.reason === 'old_challenge' && says === 'deny') last = await respond(base, device, id, last.challenge, says);
      if (last.http !== 404) break;
    }
    return last;
  }

  // devicesOf are those that a message may be for.
  const devicesOf = (devices, message) => devices.filter(d => !d.scope || !message.scope || d.scope === message.scope);

  // enrol registers a subscription by a code, and returns the device to keep.
  async function enrol(base, code, subscription, name, locale) {
    const keys = await newKeys();
    const {endpoint, keys: {p256dh, auth}} = subscription;
    const got = await post(base + 'v1/enrolments', {code, endpoint, p256dh, auth, key: await publicKey(keys), name, ...locale && {locale}});
    return got.http === 200 ? {id: got.device_id, asker: got.asker, owner: got.owner, keys} : got;
  }

  // active waits until a registration's worker runs: before, it can't subscribe.
  const active = registration => new Promise((resolve, reject) => {
    const worker = registration.installing || registration.waiting || registration.active;
    const look = () => {
      if (worker.state === 'activated') resolve(registration);
      if (worker.state === 'redundant') reject(new Error('the service worker doesn\'t start'));
    };
    worker.addEventListener('statechange', look);
    look();
  });

  // connect makes this browser a device by a code, and keeps it. A service worker's registration has one subscription, and
  // a subscription is one user's. So each user has a registration with a scope of its own, which also tells for whom a push is.
  async function connect({base, worker, code, key, name, locale}) {
    const scope = new URL('of/' + crypto.randomUUID() + '/', worker).href;
    const registration = await active(await navigator.serviceWorker.register(worker, {scope}));
    let device = {};
    try {
      const subscription = await registration.pushManager.subscribe({userVisibleOnly: true, applicationServerKey: key});
      device = await enrol(base, code, subscription.toJSON(), name, locale);
    } finally {
      if (!device.id) await registration.unregister();
    }
    if (!device.id) return device;
    for (const d of await all('devices')) if (d.owner && d.owner === device.owner) await forget(d);
    await put('devices', {...device, scope});
    return device;
  }

  // forget drops a device. With its registration goes the subscription, so the server hears that it is gone.
  async function forget(device) {
    if (device.scope) {
      const registration = await navigator.serviceWorker.getRegistration(device.scope);
      if (registration && registration.scope === device.scope) await registration.unregister();
    }
    await remove('devices', device.id);
  }

  // The browser's database: devices by id, and messages by the id of their verification.
  function database() {
    return new Promise((resolve, reject) => {
      const opening = indexedDB.open('authenticator', 1);
      opening.onupgradeneeded = () => {
        opening.result.createObjectStore('devices', {keyPath: 'id'});
        opening.result.createObjectStore('messages', {keyPath: 'verification_id'});
      };
      opening.onsuccess = () => resolve(opening.result);
      opening.onerror = () => reject(opening.error);
    });
  }

  async function within(store, mode, use) {
    const db = await database();
    try {
      return await new Promise((resolve, reject) => {
        const transaction = db.transaction(store, mode);
        const request = use(transaction.objectStore(store));
        transaction.oncomplete = () => resolve(request.result);
        transaction.onerror = transaction.onabort = () => reject(transaction.error);
      });
    } finally {
      db.close();
    }
  }

  const all = store => within(store, 'readonly', s => s.getAll());
  const put = (store, value) => within(store, 'readwrite', s => s.put(value));
  const remove = (store, key) => within(store, 'readwrite', s => s.delete(key));

  // receive keeps a message, and reports whether it is new. A push service may deliver one again that its person has dealt with.
  async function receive(message, scope) {
    const known = (await all('messages')).find(m => m.verification_id === message.verification_id);
    if (known && known.done && known.id === message.id) return false;
    await put('messages', {...message, scope});
    return true;
  }

  // done keeps of a message only that its person has dealt with it.
  const done = m => put('messages', {verification_id: m.verification_id, id: m.id, expires_at: m.expires_at, done: true});

  // current returns the newest message that lives, and forgets those that don't. now is the server's time; undefined: nobody
  // knows it, and then nothing has expired. Ids of verifications sort by their time.
  async function current(now) {
    const messages = await all('messages'), dead = m => Date.parse(m.expires_at) <= now;
    for (const m of messages) if (dead(m)) await remove('messages', m.verification_id);
    return messages.filter(m => !m.done && !dead(m)).sort((a, b) => a.verification_id < b.verification_id ? 1 : -1)[0];
  }

  // browserOf says in a few words which browser a User-Agent names. It is for people: a User-Agent may lie.
  function browserOf(agent) {
    const first = table => (table.find(([, pattern]) => pattern.test(agent)) || [''])[0];
    const browser = first([['Edge', /Edg/], ['Opera', /OPR\//], ['Samsung Internet', /SamsungBrowser/], ['Firefox', /Firefox|FxiOS/], ['Chrome', /Chrome|CriOS/], ['Safari', /Safari/]]);
    const system = first([['Android', /Android/], ['iPhone', /iPhone/], ['iPad', /iPad/], ['Windows', /Windows/], ['Mac', /Macintosh/], ['ChromeOS', /CrOS/], ['Linux', /Linux/]]);
    if (browser && system) return browser + ' / ' + system;
    return browser || system || agent.slice(0, 60);
  }

  return {answer, all, browserOf, connect, current, devicesOf, done, enrol, forget, put, receive, remove, settings};
})();
