// Runs the authenticator in a real Firefox against a server, as a person would: it enrols, and then picks a number, types
// one after a wrong one, and says that it wasn't them. axe-core looks at each page. A stand-in for Mozilla's push service
// on this machine takes the server's pushes and hands them to Firefox, which decrypts them.
//
//	node run.js COUNTERSIGN [FOLDER for pictures]
'use strict';
const puppeteer = require('puppeteer-core'), ws = require('ws'), https = require('https'), fs = require('fs'), os = require('os'), path = require('path'), crypto = require('crypto');
const {execFileSync, spawn} = require('child_process');
const [program, pictures] = process.argv.slice(2);
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
      const channel = channels.get(request.url);
      if (channel) {
        channel.socket.send(JSON.stringify({messageType: 'notification', channelID: channel.id, version: crypto.randomUUID(), data: Buffer.concat(parts).toString('base64url'), headers: {encoding: request.headers['content-encoding']}}));
      }
      response.writeHead(channel ? 201 : 410).end();
    });
  });
  await new Promise(done => endpoints.listen(0, '127.0.0.1', done));
  const sockets = new ws.WebSocketServer({port: 0, host: '127.0.0.1', handleProtocols: () => 'push-notification'});
  sockets.on('connection', socket => socket.on('message', text => {
    const m = JSON.parse(text), send = value => socket.send(JSON.stringify(value));
    if (m.messageType === 'hello') send({messageType: 'hello', status: 200, uaid: crypto.randomUUID().replaceAll('-', ''), use_webpush: true, broadcasts: {}});
    else if (m.messageType === 'register') {
      const at = '/push/' + crypto.randomUUID();
      channels.set(at, {socket, id: m.channelID});
      send({messageType: 'register', status: 200, channelID: m.channelID, pushEndpoint: `https://127.0.0.1:${endpoints.address().port}${at}`});
    } else if (!m.messageType) send({});
  }));
  await new Promise(done => sockets.on('listening', done));
  return sockets.address().port;
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

(async () => {
  const port = await pushService();
  const {url, call} = await server();
  const browser = await firefox(port);
  try {
    const page = await browser.newPage();
    await page.setViewport({width: 390, height: 760});
    page.on('pageerror', error => { throw error; });
    const visible = id => page.waitForSelector('#' + id, {visible: true, timeout: patience});
    const text = id => page.$eval('#' + id, e => e.textContent);
    const pick = right => page.evaluate((right, yes) => [...document.querySelectorAll('#choices button')].find(b => (b.textContent === right) === yes).click(), right[0], right[1]);
    const look = async what => {
      if (pictures) await page.screenshot({path: path.join(pictures, what + '.png')});
      for (const scheme of ['light', 'dark']) {
        await page.evaluate(s => { document.documentElement.style.colorScheme = s; }, scheme);
        const violations = await page.evaluate(async source => { (0, Function)(source)(); return (await axe.run()).violations.map(v => v.id); }, axe);
        want(violations.length === 0, `${what}, ${scheme}: axe says ${violations}`);
      }
    };
    const app = await call('/applications', {name: 'My shop', channels: ['push']});
    await call(`/applications/${app.id}/imports`, {users: [{user: 'ada', number: '+12025550100'}]});
    const user = `/applications/${app.id}/users/ada`;

    const {code} = await call(user + '/enrolments');
    await page.goto(`${url}/device/#${code}`);
    await visible('enrol');
    want(!page.url().includes(code), 'the code stays in the address');
    await look('enrol');
    await page.click('#enrol-form button');
    await visible('idle');
    want(await text('devices') === 'My shop', 'enrolled for ' + await text('devices'));
    await look('idle');

    const payment = {amount: '49.90 EUR', payee: 'Example Shop'};
    const ask = async () => {
      const v = await call(user + '/verifications', {mode: 'approve', purpose: 'payment', ...payment, client_ip: '203.0.113.7', user_agent: 'Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/140.0'});
      await visible('prompt');
      const facts = await text('facts');
      for (const fact of ['My shop', 'payment', '49.90 EUR', 'Example Shop', 'Firefox on Windows', '203.0.113.7']) want(facts.includes(fact), `the prompt doesn't say ${fact}: ${facts}`);
      return {...v, outcome: call(`/verifications/${v.id}/check`, {wait: 30, ...payment})};
    };
    let v = await ask();
    await look('prompt');
    await pick([v.show, true]);
    want((await v.outcome).valid, 'the right number isn\'t valid');
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
    console.log('ok: Firefox enrolled, approved twice and denied once; axe-core found nothing on four pages, light and dark');
  } finally {
    await browser.close();
    fs.rmSync(folder, {recursive: true, force: true});
  }
  process.exit(0);
})().catch(error => {
  console.error(error);
  process.exit(1);
});
