'use strict';

// What the page and the service worker have in common. The page, the worker and the tests load it as a plain script.
const authenticator = (() => {
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

  // respond says something of a prompt with one device's key: a number, or deny.
  async function respond(base, device, id, challenge, says) {
    const text = ['countersign answer 1', id, device.id, challenge, says].join('\n');
    const signature = await crypto.subtle.sign({name: 'ECDSA', hash: 'SHA-256'}, device.keys.privateKey, new TextEncoder().encode(text));
    return post(base + 'v1/answers', {verification_id: id, device_id: device.id, challenge, answer: says, signature: base64url(signature)});
  }

  // answer says it with the key of the device that the prompt is for. A browser may be the device of several users, and a
  // push doesn't tell of which. Where the challenge is an old one, it signs a denial once more. A number may have been
  // picked among choices of which somebody has tried one by now, so its person has to type it.
  async function answer(base, devices, id, challenge, says) {
    let last = {http: 404, code: 'no_prompt'};
    for (const device of devices) {
      last = await respond(base, device, id, challenge, says);
      if (last.reason === 'old_challenge' && says === 'deny') last = await respond(base, device, id, last.challenge, says);
      if (last.http !== 404) break;
    }
    return last;
  }

  // enrol registers a subscription by a code, and returns the device to keep.
  async function enrol(base, code, subscription, name) {
    const keys = await newKeys();
    const {endpoint, keys: {p256dh, auth}} = subscription;
    const got = await post(base + 'v1/enrolments', {code, endpoint, p256dh, auth, key: await publicKey(keys), name});
    return got.http === 200 ? {id: got.device_id, asker: got.asker, keys} : got;
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

  // current returns the newest message that lives, and forgets those that don't.
  async function current(now) {
    const messages = await all('messages');
    for (const m of messages) if (Date.parse(m.expires_at) <= now) await remove('messages', m.verification_id);
    return messages.filter(m => Date.parse(m.expires_at) > now).sort((a, b) => b.received - a.received)[0];
  }

  // browserOf says in a few words which browser a User-Agent names. It is for people: a User-Agent may lie.
  function browserOf(agent) {
    const first = table => (table.find(([, pattern]) => pattern.test(agent)) || [''])[0];
    const browser = first([['Edge', /Edg/], ['Opera', /OPR\//], ['Samsung Internet', /SamsungBrowser/], ['Firefox', /Firefox|FxiOS/], ['Chrome', /Chrome|CriOS/], ['Safari', /Safari/]]);
    const system = first([['Android', /Android/], ['iPhone', /iPhone/], ['iPad', /iPad/], ['Windows', /Windows/], ['Mac', /Macintosh/], ['ChromeOS', /CrOS/], ['Linux', /Linux/]]);
    if (browser && system) return browser + ' on ' + system;
    return browser || system || agent.slice(0, 60);
  }

  return {answer, enrol, all, put, remove, current, browserOf};
})();
