'use strict';

importScripts('lib.js');

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', event => event.waitUntil(self.clients.claim()));

self.addEventListener('push', event => event.waitUntil(receive(event.data.json())));

async function receive(message) {
  await authenticator.put('messages', {...message, received: Date.now()});
  for (const page of await self.clients.matchAll({type: 'window'})) page.postMessage('changed');
  const title = message.prompt ? message.prompt.asker + ': is this you?' : 'Your code';
  const body = message.prompt ? 'Open to see what is asked, and to answer.' : message.body;
  await self.registration.showNotification(title, {body, tag: 'authenticator', icon: 'icon.svg', requireInteraction: true});
}

self.addEventListener('notificationclick', event => {
  event.notification.close();
  event.waitUntil(show());
});

async function show() {
  for (const page of await self.clients.matchAll({type: 'window'})) return page.focus();
  return self.clients.openWindow('./');
}
