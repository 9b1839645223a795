// Runs the authenticator in a real browser against a server, as people would: two users of one application enrol in it, and
// then pick a number, type one after a wrong one, and say that it wasn't them. axe-core looks at each page, in each language.
// A stand-in for the browser's push service on this machine takes the server's pushes. Firefox gets them by its own
// protocol, and decrypts them. Chromium would get them from Google's servers only: its subscription is made here, and the
// stand-in decrypts for it and hands the contents to its service worker by the browser's debugging protocol.
//
//	node run.js COUNTERSIGN firefox|chromium [FOLDER for pictures]
'use strict';
const puppeteer = require('puppeteer-core'), ws = require('ws'), https = require('https'), fs = require('fs'), os = require('os'), path = require('path'), crypto = require('crypto');
const {execFileSync, spawn} = require('child_process');
const [program, kind, pictures] = process.argv.slice(2);
const axe = fs.readFileSync(require.resolve('axe-core'), 'utf8');
const patience = 30000;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'authenticator-'));
const run = (...args) => execFileSync(program, args, {encoding: 'utf8', cwd: folder});
const want = (holds, what) => { if (!holds) throw new Error(what); };

// pushService makes both sides of the stand-in: the WebSocket that Firefox keeps, and the endpoints that the server calls.
async function pushService() {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'key.pem', '-out', 'cert.pem', '-days', '2',
    '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'], {stdio: 'ignore', cwd: folder});
  const channels = new Map();
  const endpoints = https.createServer({key: fs.readFileSync(path.join(folder, 'key.pem')), cert: fs.readFileSync(path.join(folder, 'cert.pem'))}, (request, response) => {
    const parts = [];
    request.on('data', part => parts.push(part)).on('end', () => {
      const deliver = channels.get(request.url);
      if (deliver) deliver(Buffer.concat(parts), request.headers['content-encoding']);
      response.writeHead(deliver ? 201 : 410).end();
    });
  });
  await new Promise(done => endpoints.listen(0, '127.0.0.1', done));
  const subscribe = deliver => {
    const at = '/push/' + crypto.randomUUID();
    channels.set(at, deliver);
    return `https://127.0.0.1:${endpoints.address().port}${at}`;
  };
  const sockets = new ws.WebSocketServer({port: 0, host: '127.0.0.1', handleProtocols: () => 'push-notification'});
  sockets.on('connection', socket => socket.on('message', text => {
    const m = JSON.parse(text), send = value => socket.send(JSON.stringify(value));
    if (m.messageType === 'hello') send({messageType: 'hello', status: 200, uaid: crypto.randomUUID().replaceAll('-', ''), use_webpush: true, broadcasts: {}});
    else if (m.messageType === 'register') {
      const pushEndpoint = subscribe((body, encoding) => send({messageType: 'notification', channelID: m.channelID, version: crypto.randomUUID(), data: body.toString('base64url'), headers: {encoding}}));
      send({messageType: 'register', status: 200, channelID: m.channelID, pushEndpoint});
    } else if (!m.messageType) send({});
  }));
  await new Promise(done => sockets.on('listening', done));
  return {port: sockets.address().port, subscribe};
}

// server starts a server that pushes, with a user, and returns a function that calls its API.
async function server() {
  run('keyset', 'create', 'keyset.json');
  run('secret', 'vapid', 'vapid.pem');
  fs.writeFileSync(path.join(folder, 'countersign.yaml'), `
public: {listen: "127.0.0.1:0"}
operations: {listen: "127.0.0.1:0"}
public_sender: "+12025550199"
data: data
keyset: {file: keyset.json}
user_limits: {interval: 1ms, max: 100, period: 1m}
carriers:
  - name: push
    webpush: {vapid_key: {file: vapid.pem}, contact: "mailto:ops@example.com", private: true, ca_file: cert.pem}
channels: {push: [push]}
`);
  const child = spawn(program, ['serve'], {stdio: ['ignore', 'ignore', 'pipe'], cwd: folder});
  process.on('exit', () => child.kill());
  const url = await new Promise((found, failed) => {
    let log = '';
    setTimeout(() => failed(new Error('the server didn\'t start: ' + log)), patience).unref();
    child.stderr.on('data', text => {
      log += text;
      const at = /public[=":]+(127\.0\.0\.1:\d+)/.exec(log);
      if (at && /serving/.test(log)) found('http://' + at[1]);
    });
  });
  run('project', 'create', 'Test');
  const {token: secret} = JSON.parse(run('key', 'create', '--json', '--project', 'Test', '--scope', 'verify:start,verify:check,read,applications,manage'));
  const call = async (to, body = {}) => {
    const response = await fetch(url + '/v1' + to, {method: 'POST', headers: {Authorization: 'Bearer ' + secret, 'Content-Type': 'application/json'}, body: JSON.stringify(body)});
    const answer = await response.json();
    want(response.ok, `${to}: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
  };
  return {url, call};
}

const firefox = port => puppeteer.launch({
  browser: 'firefox', executablePath: process.env.FIREFOX || '/usr/bin/firefox-esr', headless: true, args: ['--no-remote'],
  extraPrefsFirefox: {
    'dom.push.enabled': true, 'dom.push.connection.enabled': true, 'dom.push.serverURL': `ws://127.0.0.1:${port}/`, 'dom.push.testing.ignorePermission': true,
    'dom.push.testing.allowInsecureServerURL': true, 'permissions.default.desktop-notification': 1, 'dom.webnotifications.requireuserinteraction': false,
    // Nothing leaves this machine.
    'network.proxy.type': 1, 'network.proxy.http': '127.0.0.1', 'network.proxy.http_port': 9, 'network.proxy.ssl': '127.0.0.1', 'network.proxy.ssl_port': 9,
    'network.proxy.no_proxies_on': '127.0.0.1,localhost', 'network.captive-portal-service.enabled': false, 'network.connectivity-service.enabled': false, 'app.update.enabled': false,
  },
});

const chromium = () => puppeteer.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium', headless: true, protocolTimeout: patience, args: ['--no-sandbox', '--disable-gpu', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
});

// decrypt opens a push as a browser does (RFC 8291).
function decrypt(body, device, auth) {
  const hkdf = (key, salt, info, length) => Buffer.from(crypto.hkdfSync('sha256', key, salt, info, length));
  const salt = body.subarray(0, 16), sender = body.subarray(21, 21 + body[20]), sealed = body.subarray(21 + body[20]);
  const key = hkdf(device.computeSecret(sender), auth, Buffer.concat([Buffer.from('WebPush: info\0'), device.getPublicKey(), sender]), 32);
  const opening = crypto.createDecipheriv('aes-128-gcm', hkdf(key, salt, 'Content-Encoding: aes128gcm\0', 16), hkdf(key, salt, 'Content-Encoding: nonce\0', 12));
  opening.setAuthTag(sealed.subarray(-16));
  const padded = Buffer.concat([opening.update(sealed.subarray(0, -16)), opening.final()]);
  return padded.subarray(0, padded.lastIndexOf(2)).toString();
}

// subscribesHere lets a page of Chromium subscribe at the stand-in.
async function subscribesHere(browser, page, url, subscribe) {
  await browser.defaultBrowserContext().overridePermissions(url, ['notifications']);
  const session = await page.createCDPSession(), ids = new Map();
  session.on('ServiceWorker.workerRegistrationUpdated', ({registrations}) => registrations.forEach(r => ids.set(r.scopeURL, r.registrationId)));
  await session.send('ServiceWorker.enable');
  await page.exposeFunction('subscribeHere', scope => {
    const device = crypto.createECDH('prime256v1'), auth = crypto.randomBytes(16);
    device.generateKeys();
    const endpoint = subscribe(body => session.send('ServiceWorker.deliverPushMessage', {origin: url, registrationId: ids.get(scope), data: decrypt(body, device, auth)}));
    return {endpoint, keys: {p256dh: device.getPublicKey().toString('base64url'), auth: auth.toString('base64url')}};
  });
  await page.evaluateOnNewDocument(() => {
    const register = ServiceWorkerContainer.prototype.register;
    ServiceWorkerContainer.prototype.register = async function (...args) {
      const registration = await register.apply(this, args);
      registration.pushManager.subscribe = async () => {
        const subscription = await subscribeHere(registration.scope);
        return {toJSON: () => subscription};
      };
      return registration;
    };
  });
}

(async () => {
  const {port, subscribe} = await pushService();
  const {url, call} = await server();
  const browser = kind === 'chromium' ? await chromium() : await firefox(port);
  try {
    const page = await browser.newPage();
    await page.setViewport({width: 390, height: 760});
    page.on('pageerror', error => { throw error; });
    if (kind === 'chromium') await subscribesHere(browser, page, url, subscribe);
    const visible = id => page.waitForSelector('#' + id, {visible: true, timeout: patience});
    const text = id => page.$eval('#' + id, e => e.textContent);
    const pick = right => page.evaluate((right, yes) => [...document.querySelectorAll('#choices button')].find(b => (b.textContent === right) === yes).click(), right[0], right[1]);
    const look = async what => {
      if (pictures) await page.screenshot({path: path.join(pictures, kind + '-' + what + '.png')});
      want(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), what + ' is wider than the screen');
      for (const scheme of ['light', 'dark']) {
        await page.evaluate(s => { document.documentElement.style.colorScheme = s; }, scheme);
        const violations = await page.evaluate(async source => { (0, Function)(source)(); return (await axe.run()).violations.map(v => v.id); }, axe);
        want(violations.length === 0, `${what}, ${scheme}: axe says ${violations}`);
      }
    };
    const app = await call('/applications', {name: 'My shop', channels: ['push']});
    await call(`/applications/${app.id}/imports`, {users: [{user: 'ada', number: '+12025550100'}, {user: 'eve', number: '+12025550101'}]});
    const user = `/applications/${app.id}/users/ada`, other = `/applications/${app.id}/users/eve`;

    const {code} = await call(user + '/enrolments');
    await page.goto(`${url}/device/#${code}`);
    await visible('enrol');
    want(!page.url().includes(code), 'the code stays in the address');
    await look('enrol');
    await page.click('#enrol-form button');
    await visible('idle');
    want(await text('devices') === 'My shop', 'enrolled for ' + await text('devices'));
    await look('idle');

    // Another user of the same application, in the same browser.
    await page.click('#more');
    await visible('enrol');
    await page.type('#code', (await call(other + '/enrolments')).code.toLowerCase());
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelectorAll('#devices li').length === 2, {timeout: patience});

    const payment = {amount: '49.90 EUR', payee: 'Example Shop'};
    const ask = async (whom = user) => {
      const v = await call(whom + '/verifications', {mode: 'approve', purpose: 'payment', ...payment, client: {ip: '203.0.113.7', user_agent: 'Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/140.0', device: 'her laptop'}});
      await visible('prompt');
      const facts = await text('facts');
      for (const fact of ['My shop', 'payment', '49.90 EUR', 'Example Shop', 'her laptop', 'Firefox / Windows', '203.0.113.7']) want(facts.includes(fact), `the prompt doesn't say ${fact}: ${facts}`);
      return {...v, outcome: call(`/verifications/${v.id}/check`, {wait: 30, ...payment})};
    };
    let v = await ask();
    await look('prompt');
    await pick([v.show, true]);
    want((await v.outcome).valid, 'the right number isn\'t valid');
    await visible('idle');

    v = await ask(other);
    await pick([v.show, true]);
    want((await v.outcome).valid, 'the right number of the other user isn\'t valid');
    await visible('idle');

    v = await ask();
    await pick([v.show, false]);
    await visible('typed');
    await look('typed');
    await page.type('#number', v.show);
    await page.keyboard.press('Enter');
    want((await v.outcome).valid, 'the right number after a wrong one isn\'t valid');
    await visible('idle');

    v = await ask();
    await page.click('#deny');
    const denied = await v.outcome;
    want(!denied.valid && denied.reason === 'rejected', 'a denial is ' + JSON.stringify(denied));
    await visible('idle');

    // All languages fit on narrow phones and usual ones, also from right to left: the page to enrol, and a prompt with a long message.
    const languages = await page.evaluate(() => Object.keys(words.tables));
    const prompt = {id: '1', verification_id: '1', expires_at: new Date(Date.now() + 299e3).toISOString(), prompt: {
      challenge: '', choices: [10, 47, 99], asker: 'My shop', purpose: 'payment', amount: '49.90 EUR', payee: 'Example Shop', client_ip: '203.0.113.7',
      user_agent: 'Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/140.0', device: 'her laptop', place: 'Munich, Germany', started_at: '2026-05-04T12:55:00Z'}};
    for (const language of languages) {
      const spoken = await browser.newPage();
      await spoken.evaluateOnNewDocument(l => Object.defineProperty(navigator, 'languages', {get: () => [l]}), language);
      await spoken.goto(`${url}/device/#`);
      await spoken.waitForSelector('#idle', {visible: true, timeout: patience});
      const see = async (what, change, ...args) => {
        await spoken.evaluate(change, ...args);
        await spoken.waitForSelector('#' + what, {visible: true, timeout: patience});
        for (const width of [320, 390]) {
          await spoken.setViewport({width, height: 860});
          const wide = await spoken.evaluate(() => [document.documentElement, ...document.querySelectorAll('.card, .card *')].filter(e => e.scrollWidth > e.clientWidth && e.clientWidth).map(e => e.id || e.tagName));
          want(wide.length === 0, `in ${language}, with ${width} pixels: ${what} is too wide: ${wide}`);
          if (pictures) await spoken.screenshot({path: path.join(pictures, `${kind}-${language}-${what}-${width}.png`)});
        }
        const violations = await spoken.evaluate(async source => { (0, Function)(source)(); return (await axe.run()).violations.map(v => v.id); }, axe);
        want(violations.length === 0, `in ${language}: axe says of ${what}: ${violations}`);
      };
      await see('enrol', () => { document.getElementById('more').click(); say(words.of('unable'), true); });
      await see('prompt', async m => {
        await authenticator.put('messages', m);
        await refresh();
        say(words.of('tried') + ' ' + words.of('look'), true);
      }, prompt);
      const [lang, dir] = await spoken.evaluate(async m => {
        await authenticator.remove('messages', m.verification_id);
        return [document.documentElement.lang, getComputedStyle(document.body).direction];
      }, prompt);
      want(lang === language && dir === (language === 'ar' ? 'rtl' : 'ltr'), `in ${language}: ${lang}, ${dir}`);
      await spoken.close();
    }
    console.log(`ok: in ${kind}, two users enrolled, approved three times and denied once; axe-core found nothing on four pages, light and dark, and in ${languages.length} languages`);
  } finally {
    await browser.close();
    fs.rmSync(folder, {recursive: true, force: true});
  }
  process.exit(0);
})().catch(error => {
  console.error(error);
  process.exit(1);
});
