// The service worker: it keeps each push for the page, and shows a notification. There is one registration of it for each
// user of this browser.
'use strict';

importScripts('lib.js', 'words.js');

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', event => event.waitUntil(self.clients.claim()));

self.addEventListener('push', event => event.waitUntil(receive(event.data)));

async function receive(data) {
  let message;
  try {
    message = data.json();
  } catch { // a push service can push nothing at all, and a browser wants to see a notification for each push
    return notify(words.of('codeTitle'), words.of('openIt'));
  }
  if (!await authenticator.receive(message, self.registration.scope)) return;
  for (const page of await pages()) page.postMessage('changed');
  if (message.prompt) return notify(message.prompt.asker + ': ' + words.of('promptTitle'), words.of('openPrompt'));
  return notify(words.of('codeTitle'), message.body);
}

// notify takes the place of what it showed before for the same user.
const notify = (title, body) => self.registration.showNotification(title, {body, tag: self.registration.scope, icon: 'icon.svg', requireInteraction: true, lang: words.language, dir: words.direction});

// pages are those beside the worker, whichever registration controls them.
async function pages() {
  const home = new URL('./', self.location.href).href;
  return (await self.clients.matchAll({type: 'window', includeUncontrolled: true})).filter(page => page.url.startsWith(home));
}

self.addEventListener('notificationclick', event => {
  event.notification.close();
  event.waitUntil(show());
});

async function show() {
  for (const page of await pages()) return page.focus();
  return self.clients.openWindow('./');
}
