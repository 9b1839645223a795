// Runs the authenticator in a real browser against a server, as people would: two users of one application enrol in it, and
// then pick a number, type one after a wrong one, and say that it wasn't them. axe-core looks at each page, in each language.
// A stand-in for the browser's push service on this machine takes the server's pushes, and hands them to the browser by its
// own protocol: Mozilla's autopush for Firefox, Google's check-in, registration and MCS for Chromium. The browser subscribes,
// and decrypts. Only the endpoints that Chromium names are Google's, and the page puts the stand-in's in their place.
//
//	node run.js COUNTERSIGN firefox|chromium [FOLDER for pictures]
'use strict';
const puppeteer = require('puppeteer-core'), ws = require('ws'), http = require('http'), https = require('https'), tls = require('tls'), fs = require('fs'), os = require('os'), path = require('path'), crypto = require('crypto');
const {execFileSync, spawn} = require('child_process');
const [program, kind, pictures] = process.argv.slice(2);
const axe = fs.readFileSync(require.resolve('axe-core'), 'utf8');
const patience = 30000;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'authenticator-'));
const run = (...args) => execFileSync(program, args, {encoding: 'utf8', cwd: folder});
const want = (holds, what) => { if (!holds) throw new Error(what); };

// pushService makes the stand-in's endpoints, which the server calls, and the WebSocket that Firefox keeps.
async function pushService() {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'key.pem', '-out', 'cert.pem', '-days', '2',
    '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'], {stdio: 'ignore', cwd: folder});
  const channels = new Map();
  const identity = {key: fs.readFileSync(path.join(folder, 'key.pem')), cert: fs.readFileSync(path.join(folder, 'cert.pem'))};
  const endpoints = https.createServer(identity, (request, response) => {
    const parts = [];
    request.on('data', part => parts.push(part)).on('end', () => {
      const deliver = channels.get(request.url);
      if (deliver) deliver(Buffer.concat(parts), request.headers['content-encoding']);
      response.writeHead(deliver ? 201 : 410).end();
    });
  });
  await new Promise(done => endpoints.listen(0, '127.0.0.1', done));
  const origin = `https://127.0.0.1:${endpoints.address().port}`;
  const subscribe = deliver => {
    const at = '/push/' + crypto.randomUUID();
    channels.set(at, deliver);
    return origin + at;
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
  return {port: sockets.address().port, subscribe, endpoint: origin + '/push/', identity};
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

const chromium = ({google, mcs}) => puppeteer.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium', headless: true, protocolTimeout: patience,
  args: ['--no-sandbox', '--disable-gpu', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', '--ignore-certificate-errors',
    `--gcm-checkin-url=http://127.0.0.1:${google}/checkin`, `--gcm-registration-url=http://127.0.0.1:${google}/register`, `--gcm-mcs-endpoint=https://127.0.0.1:${mcs}`],
});

// Protocol buffers, as much of them as Google's protocols need here.
const varint = n => n < 128 ? Buffer.from([n]) : Buffer.concat([Buffer.from([n % 128 + 128]), varint(Math.floor(n / 128))]);
const bytes = (field, value) => Buffer.concat([varint(field * 8 + 2), varint(Buffer.byteLength(value)), Buffer.from(value)]);
const fixed64 = (field, n) => { const b = Buffer.alloc(9, field * 8 + 1); b.writeBigUInt64LE(n, 1); return b; };

// pushServiceOfChromium stands in for Google's (google_apis/gcm/protocol in Chromium's source): a check-in that gives the browser an
// id, the registrations of subscriptions, and the connection by which messages come.
async function pushServiceOfChromium(subscribe, {key, cert}) {
  let connected, connection = new Promise(done => { connected = done; });
  const listen = async server => { await new Promise(done => server.listen(0, '127.0.0.1', done)); return server.address().port; };
  const frame = (tag, message) => Buffer.concat([Buffer.from([tag]), varint(message.length), message]);
  const mcs = tls.createServer({key, cert}, socket => socket.on('error', () => {}).once('data', () => {
    socket.write(Buffer.concat([Buffer.from([41]), frame(3, bytes(1, 'login'))])); // the version, and a LoginResponse
    connected(socket);
    connection = Promise.resolve(socket);
  })).on('tlsClientError', () => {});
  const push = (registered, body, encoding) => {
    const data = (name, value) => bytes(7, Buffer.concat([bytes(1, name), bytes(2, value)]));
    return connection.then(socket => socket.write(frame(8, Buffer.concat([ // a DataMessageStanza
      bytes(2, crypto.randomUUID()), bytes(3, registered.get('sender')), bytes(5, registered.get('app')), data('subtype', registered.get('X-subtype')),
      data('content-encoding', encoding), bytes(9, crypto.randomUUID()), bytes(21, body),
    ]))));
  };
  const google = http.createServer((request, response) => {
    const parts = [];
    request.on('data', part => parts.push(part)).on('end', () => {
      if (request.url === '/checkin') { // an AndroidCheckinResponse
        return response.writeHead(200, {'Content-Type': 'application/x-protobuf'}).end(Buffer.concat([Buffer.from([8, 1]), fixed64(7, 1n), fixed64(8, 2n)]));
      }
      const registered = new URLSearchParams(Buffer.concat(parts).toString());
      response.end('token=' + path.basename(subscribe((body, encoding) => push(registered, body, encoding))));
    });
  });
  return {google: await listen(google), mcs: await listen(mcs)};
}

// endpointsHere puts the stand-in's endpoints in the place of Google's.
async function endpointsHere(browser, page, url, endpoint) {
  await browser.defaultBrowserContext().overridePermissions(url, ['notifications']);
  await page.evaluateOnNewDocument(endpoint => {
    const toJSON = PushSubscription.prototype.toJSON;
    PushSubscription.prototype.toJSON = function () {
      const subscription = toJSON.call(this);
      return {...subscription, endpoint: endpoint + subscription.endpoint.split('/').pop()};
    };
  }, endpoint);
}

(async () => {
  const {port, subscribe, endpoint, identity} = await pushService();
  const {url, call} = await server();
  const browser = kind === 'chromium' ? await chromium(await pushServiceOfChromium(subscribe, identity)) : await firefox(port);
  try {
    const page = await browser.newPage();
    await page.setViewport({width: 390, height: 760});
    page.on('pageerror', error => { throw error; });
    if (kind === 'chromium') await endpointsHere(browser, page, url, endpoint);
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
