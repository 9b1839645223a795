'use strict';

const $ = id => document.getElementById(id);
const base = new URL('./', location.href).href;
const sections = ['enrol', 'prompt', 'told', 'idle'];

let message; // that is shown
let ticking;

function show(section) {
  for (const name of sections) $(name).hidden = name !== section;
}

function say(text, bad) {
  $('status').textContent = text;
  $('status').className = bad ? 'bad' : '';
}

// problems are what people read for the server's codes.
const problems = {
  no_enrolment: 'That code is wrong, was used, or is too old. Ask for a new one.',
  too_many_devices: 'You have as many devices as you may. Remove one first.',
  no_prompt: 'This browser can\'t answer that request.',
  too_many_guesses: 'There were too many wrong numbers. Wait a while.',
  no_carrier: 'This server sends nothing to browsers.',
};

const problemOf = got => problems[got.code] || 'That didn\'t work. Try again later.';

// refresh shows what waits.
async function refresh() {
  const devices = await authenticator.all('devices');
  if (!devices.length) return show('enrol');
  message = await authenticator.current(Date.now());
  clearInterval(ticking);
  if (!message) return idle(devices);
  if (message.prompt) return prompt(message);
  $('told-code').textContent = message.code;
  $('told-text').textContent = message.body;
  show('told');
}

function idle(devices) {
  $('devices').replaceChildren(...devices.map(d => element('li', d.asker)));
  show('idle');
}

function element(name, text) {
  const e = document.createElement(name);
  e.textContent = text;
  return e;
}

// prompt shows who asks, for what, from where and when.
function prompt(m) {
  const p = m.prompt;
  const facts = [['Who', p.asker], ['For', p.purpose === 'verify' ? '' : p.purpose], ['Amount', p.amount], ['To', p.payee],
    ['From', [p.user_agent && authenticator.browserOf(p.user_agent), p.client_ip].filter(Boolean).join(', ')], ['When', new Date(p.started_at).toLocaleTimeString()]];
  $('facts').replaceChildren(...facts.filter(([, value]) => value).flatMap(([name, value]) => {
    const dd = element('dd', value);
    if (name === 'Amount' || name === 'To') dd.className = 'big';
    return [element('dt', name), dd];
  }));
  const picks = Boolean(p.choices && p.choices.length);
  $('ask').textContent = picks ? 'Pick the number that the page shows.' : 'Type the number that the page shows.';
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
  const left = Math.ceil((Date.parse(message.expires_at) - Date.now()) / 1000);
  if (left <= 0) return over(message, 'The request has expired.');
  $('left').textContent = `This request expires in ${Math.floor(left / 60)} min ${left % 60} s.`;
}

// over forgets a message. A newer one may be shown by now.
async function over(m, text, bad) {
  clearInterval(ticking);
  await authenticator.remove('messages', m.verification_id);
  say(text, bad);
  await refresh();
}

const endings = {
  approved: 'The request was approved before.', canceled: 'The request was canceled.', expired: 'The request has expired.',
  exhausted: 'There were too many wrong numbers. The request is over.', superseded: 'There is a newer request.',
};

async function answer(says) {
  const m = message; // a newer one may come before the server's answer
  const buttons = document.querySelectorAll('#prompt button');
  for (const b of buttons) b.disabled = true;
  try {
    const got = await authenticator.answer(base, await authenticator.all('devices'), m.verification_id, m.prompt.challenge, says);
    if (got.accepted) return await over(m, says === 'deny' ? 'Thank you. The request was stopped.' : 'Approved. You can go on.');
    if (got.reason === 'ended') return await over(m, endings[got.status] || 'The request is over.', true);
    if (got.challenge) { // for the number that they type
      await authenticator.put('messages', {...m, prompt: {...m.prompt, challenge: got.challenge, choices: undefined}});
      say((got.reason === 'wrong_number' ? 'That isn\'t the number. ' : 'Somebody has tried another number or code. ') + 'Look at the page, and type what it shows. If no page shows one, it isn\'t you.', true);
      await refresh();
      return $('number').focus();
    }
    if (got.reason === 'wrong_number') return await over(m, endings.exhausted, true);
    say(problemOf(got), true);
  } catch {
    say('The server can\'t be reached. Try again.', true);
  } finally {
    for (const b of buttons) b.disabled = false;
  }
}

async function connect(code) {
  if (!('serviceWorker' in navigator) || !('PushManager' in window)) {
    return say('This browser can\'t receive messages. On an iPhone or iPad, add this page to the Home Screen first, and open it there.', true);
  }
  if (await Notification.requestPermission() !== 'granted') return say('Allow notifications for this page, and try again.', true);
  say('Connecting…');
  const response = await fetch(base + 'v1/settings');
  const settings = await response.json();
  if (!response.ok) return say(problemOf(settings), true);
  const worker = await ready();
  const subscription = await subscribe(worker.pushManager, settings.vapid_key);
  const device = await authenticator.enrol(base, code, subscription.toJSON(), authenticator.browserOf(navigator.userAgent));
  if (!device.id) return say(problemOf(device), true);
  await authenticator.put('devices', device);
  $('code').value = '';
  say('This browser is connected.');
  await refresh();
}

// subscribe subscribes for the server's key. A browser has one subscription, so one for the key before must go.
async function subscribe(manager, key) {
  const options = {userVisibleOnly: true, applicationServerKey: key};
  try {
    return await manager.subscribe(options);
  } catch (err) {
    const before = await manager.getSubscription();
    if (err.name !== 'InvalidStateError' || !before) throw err;
    await before.unsubscribe();
    return manager.subscribe(options);
  }
}

async function ready() {
  await navigator.serviceWorker.register('worker.js');
  return navigator.serviceWorker.ready;
}

$('enrol-form').addEventListener('submit', event => {
  event.preventDefault();
  connect($('code').value).catch(() => say('The browser couldn\'t connect. Try again.', true));
});
$('answer-form').addEventListener('submit', event => {
  event.preventDefault();
  if (/^[1-9][0-9]$/.test($('number').value)) answer($('number').value);
  else say('The number has two digits.', true);
});
$('deny').addEventListener('click', () => answer('deny'));
$('told-done').addEventListener('click', () => over(message, ''));
$('more').addEventListener('click', () => { say(''); show('enrol'); $('code').focus(); });

if ('serviceWorker' in navigator) navigator.serviceWorker.addEventListener('message', () => { say(''); refresh(); });
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });

// A link or QR code brings the code in the fragment, which the server never sees. It goes from the address at once.
const brought = decodeURIComponent(location.hash.slice(1));
if (brought) {
  history.replaceState(null, '', './');
  $('code').value = brought;
}
refresh().then(() => { if (brought) show('enrol'); });
