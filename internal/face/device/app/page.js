'use strict';

const $ = id => document.getElementById(id);
const base = new URL('./', location.href).href;
const sections = ['enrol', 'prompt', 'told', 'idle'];

let message; // that is shown
let ticking;
let behind; // how far this clock is behind the server's; undefined: not known yet

document.documentElement.lang = words.language;
document.documentElement.dir = words.direction;
for (const e of document.querySelectorAll('[data-word]')) e.textContent = words.of(e.dataset.word);

function show(section) {
  for (const name of sections) $(name).hidden = name !== section;
}

function say(text, bad) {
  $('status').textContent = text;
  $('status').className = bad ? 'bad' : '';
}

// problemOf is what people read for the server's codes.
const problemOf = got => words.of(['no_enrolment', 'too_many_devices', 'no_prompt', 'too_many_guesses', 'no_carrier'].includes(got.code) ? got.code : 'failed');

// serverTime is what time it is by the server's clock, which is what messages expire by; undefined: nobody knows.
async function serverTime() {
  behind ??= await authenticator.settings(base).then(s => s.behind, () => undefined);
  return behind === undefined ? undefined : Date.now() + behind;
}

// refresh shows what waits.
async function refresh() {
  const devices = await authenticator.all('devices');
  if (!devices.length) return show('enrol');
  message = await authenticator.current(await serverTime());
  clearInterval(ticking);
  if (!message) return idle(devices);
  if (message.prompt) return prompt(message);
  $('told-code').textContent = message.code;
  $('told-text').textContent = message.body;
  show('told');
}

function idle(devices) {
  $('devices').replaceChildren(...devices.map(d => isolated('li', d.asker)));
  show('idle');
}

function element(name, text) {
  const e = document.createElement(name);
  e.textContent = text;
  return e;
}

// isolated is an element whose text comes from elsewhere, and may be written the other way.
function isolated(name, text) {
  const e = element(name, '');
  e.replaceChildren(element('bdi', text));
  return e;
}

// from says where a prompt comes from: whose browser, which, and where that is.
const from = p => [p.device, p.user_agent && authenticator.browserOf(p.user_agent), p.place, p.client_ip].filter(Boolean).join(', ');

// prompt shows who asks, for what, from where and when.
function prompt(m) {
  const p = m.prompt;
  const facts = [['who', p.asker], ['purpose', p.purpose === 'verify' ? '' : p.purpose], ['amount', p.amount], ['payee', p.payee],
    ['from', from(p)], ['when', new Date(p.started_at).toLocaleTimeString(words.language)]];
  $('facts').replaceChildren(...facts.filter(([, value]) => value).flatMap(([name, value]) => {
    const dd = isolated('dd', value);
    if (name === 'amount' || name === 'payee') dd.className = 'big';
    return [element('dt', words.of(name)), dd];
  }));
  const picks = Boolean(p.choices && p.choices.length);
  $('ask').textContent = words.of(picks ? 'pick' : 'type');
  $('choices').replaceChildren(...(p.choices || []).map(n => {
    const b = element('button', n);
    b.type = 'button';
    b.addEventListener('click', () => answer(String(n)));
    return b;
  }));
  $('choices').hidden = !picks;
  $('typed').hidden = picks;
  $('number').value = '';
  tick();
  ticking = setInterval(tick, 1000);
  show('prompt');
}

function tick() {
  if (behind === undefined) return $('left').textContent = ''; // only the server knows
  const left = Math.ceil((Date.parse(message.expires_at) - Date.now() - behind) / 1000);
  if (left <= 0) return over(message, words.of('expired'));
  $('left').textContent = words.of('left', Math.floor(left / 60), left % 60);
}

// over ends a message. A newer one may be shown by now.
async function over(m, text, bad) {
  clearInterval(ticking);
  await authenticator.done(m);
  say(text, bad);
  await refresh();
}

const endings = {approved: 'earlier', canceled: 'canceled', expired: 'expired', exhausted: 'exhausted', superseded: 'superseded'};

async function answer(says) {
  const m = message; // a newer one may come before the server's answer
  const buttons = document.querySelectorAll('#prompt button');
  for (const b of buttons) b.disabled = true;
  try {
    const devices = authenticator.devicesOf(await authenticator.all('devices'), m);
    const got = await authenticator.answer(base, devices, m.verification_id, m.prompt.challenge, says);
    if (got.accepted) return await over(m, words.of(says === 'deny' ? 'stopped' : 'approved'));
    if (got.reason === 'ended') return await over(m, words.of(endings[got.status] || 'over'), true);
    if (got.challenge) { // for the number that they type
      await authenticator.put('messages', {...m, prompt: {...m.prompt, challenge: got.challenge, choices: undefined}});
      say(words.of(got.reason === 'wrong_number' ? 'wrong' : 'tried') + ' ' + words.of('look'), true);
      await refresh();
      return $('number').focus();
    }
    if (got.reason === 'wrong_number') return await over(m, words.of('exhausted'), true);
    say(problemOf(got), true);
  } catch {
    say(words.of('unreachable'), true);
  } finally {
    for (const b of buttons) b.disabled = false;
  }
}

async function connect(code) {
  if (!('serviceWorker' in navigator) || !('PushManager' in window)) return say(words.of('unable'), true);
  if (await Notification.requestPermission() !== 'granted') return say(words.of('allow'), true);
  say(words.of('connecting'));
  const settings = await authenticator.settings(base);
  if (!settings.vapid_key) return say(problemOf(settings), true);
  const device = await authenticator.connect({
    base, worker: base + 'worker.js', code, key: settings.vapid_key, name: authenticator.browserOf(navigator.userAgent), locale: words.language,
  });
  if (!device.id) return say(problemOf(device), true);
  $('code').value = '';
  say(words.of('connected'));
  await refresh();
}

$('enrol-form').addEventListener('submit', event => {
  event.preventDefault();
  connect($('code').value).catch(() => say(words.of('failed'), true));
});
$('answer-form').addEventListener('submit', event => {
  event.preventDefault();
  if (/^[1-9][0-9]$/.test($('number').value)) answer($('number').value);
  else say(words.of('digits'), true);
});
$('deny').addEventListener('click', () => answer('deny'));
$('told-done').addEventListener('click', () => over(message, ''));
$('more').addEventListener('click', () => { say(''); show('enrol'); $('code').focus(); });

if ('serviceWorker' in navigator) navigator.serviceWorker.addEventListener('message', () => { say(''); refresh(); });
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });

// A link or QR code brings the code in the fragment, which the server never sees. It goes from the address immediately.
const brought = location.hash.slice(1);
if (brought) {
  history.replaceState(null, '', './');
  $('code').value = brought;
}
refresh().then(() => { if (brought) show('enrol'); });
