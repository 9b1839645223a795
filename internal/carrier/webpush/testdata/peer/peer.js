// Runs npm's web-push-testing on a free port, which it prints. It leaves when its input ends.
'use strict';
const {PushApiModel} = require('web-push-testing/src/PushApiModel');
const Server = require('web-push-testing/src/server');

const server = new Server(new PushApiModel(), 0);
console.log = () => {};
server.startServer();
server._server.on('listening', () => process.stdout.write(server._server.address().port + '\n'));
process.stdin.on('end', () => process.exit(0)).resume();
