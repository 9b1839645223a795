// An SMSC made of npm's smpp, which knows nothing of our code. It is told by its environment:
//   PORT      of 127.0.0.1 to listen on; 0 is a free one, which it prints
//   LOG       a file that gets a line of JSON for each message that it takes, before the response
//   THROTTLE  n: each nth submit_sm is one too many
//   RECEIPTS  text, tlv or both; early sends both before the response, and none sends none
'use strict';
const fs = require('fs');
const smpp = require('smpp');

const { PORT, LOG, RECEIPTS = 'both' } = process.env;
const throttle = Number(process.env.THROTTLE || 0);
const log = LOG ? fs.openSync(LOG, 'a') : null;
const receivers = new Set();
let count = 0;

function receipt(to, pdu, id) {
  const p = { esm_class: 4, source_addr: pdu.destination_addr, destination_addr: pdu.source_addr };
  if (RECEIPTS !== 'tlv') {
    p.short_message = `id:${id} sub:001 dlvrd:001 submit date:2611211834 done date:2611211834 stat:DELIVRD err:000 text:`;
  }
  if (RECEIPTS !== 'text') Object.assign(p, { receipted_message_id: id, message_state: 2 });
  to.deliver_sm(p);
}

function submit(session, pdu) {
  count++;
  if (throttle && count % throttle === 0) {
    return session.send(pdu.response({ command_status: smpp.ESME_RTHROTTLED }));
  }
  const id = `${process.pid}-${count}`;
  const { message, udh } = pdu.short_message;
  if (log !== null) {
    fs.writeSync(log, JSON.stringify({
      id, text: message, udh: udh && udh.map((e) => e.toString('hex')), coding: pdu.data_coding,
      from: [pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr].join(' '), validity: pdu.validity_period,
      to: [pdu.dest_addr_ton, pdu.dest_addr_npi, pdu.destination_addr].join(' '),
    }) + '\n');
  }
  const to = receivers.has(session) ? session : receivers.values().next().value;
  const wanted = RECEIPTS !== 'none' && pdu.registered_delivery === 1;
  if (wanted && RECEIPTS === 'early') receipt(to, pdu, id);
  session.send(pdu.response({ message_id: id }));
  if (wanted && RECEIPTS !== 'early') setImmediate(receipt, to, pdu, id);
}

smpp.createServer((session) => {
  session.on('error', () => session.destroy());
  session.on('close', () => receivers.delete(session));
  for (const kind of ['transceiver', 'transmitter', 'receiver']) {
    session.on('bind_' + kind, (pdu) => {
      const ok = pdu.system_id === 'countersign' && pdu.password === 'pa55word';
      session.send(pdu.response(ok ? { system_id: 'npm' } : { command_status: smpp.ESME_RINVPASWD }));
      if (ok && kind !== 'transmitter') receivers.add(session);
    });
  }
  session.on('submit_sm', (pdu) => submit(session, pdu));
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => { session.send(pdu.response()); session.close(); });
}).listen(Number(PORT), '127.0.0.1', function () { console.log('up ' + this.address().port); });
