// The interface for pages of your own. README.md shows how it is used.
import './lib.js';

const {all, answer, connect, current, devicesOf, done, forget, settings} = globalThis.authenticator;

/** @type {typeof import('./index.d.ts').Authenticator} */
export const Authenticator = class {
  #base;
  #worker;
  #behind;

  constructor({server, worker}) {
    this.#base = new URL('device/', server.endsWith('/') ? server : server + '/').href;
    this.#worker = new URL(worker, document.baseURI).href;
  }

  async connect(code, {name, locale} = {}) {
    const {vapid_key: key, ...failed} = await settings(this.#base);
    if (!key) throw refusal(failed);
    const device = await connect({base: this.#base, worker: this.#worker, code, key, name, locale});
    if (!device.id) throw refusal(device);
    return {id: device.id, asker: device.asker};
  }

  async devices() {
    return (await all('devices')).map(({id, asker}) => ({id, asker}));
  }

  async forget(id) {
    for (const device of await all('devices')) if (device.id === id) await forget(device);
  }

  async pending() {
    this.#behind ??= await settings(this.#base).then(s => s.behind, () => undefined);
    return await current(this.#behind === undefined ? undefined : Date.now() + this.#behind) || null;
  }

  async answer(message, says) {
    const got = await answer(this.#base, devicesOf(await all('devices'), message), message.verification_id, message.prompt.challenge, says);
    if (got.code) throw refusal(got);
    if (got.accepted || got.reason === 'ended') await done(message);
    const {accepted, status, reason, challenge, attempts_remaining} = got;
    return {accepted, status, reason, challenge, attempts_remaining};
  }

  async dismiss(message) {
    await done(message);
  }

  watch(changed) {
    const listener = () => changed();
    navigator.serviceWorker.addEventListener('message', listener);
    navigator.serviceWorker.startMessages();
    return () => navigator.serviceWorker.removeEventListener('message', listener);
  }
};

const refusal = got => Object.assign(new Error(got.detail || 'the server refuses'), {code: got.code, http: got.http});
