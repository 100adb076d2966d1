// A CANopen device, or a master, of the npm package `canopen`, behind LAWICEL (slcan) text on an open descriptor.
//
//   node canopen_peer.js slave 5 FD    node 5: SDO server, NMT slave, heartbeat producer, consumer of node 127
//   node canopen_peer.js master 1 FD   talks to node 1: SDO, NMT, heartbeat; exits 0 when all went as CiA 301 says
//
// What happens is told as one JSON object a line on standard output.
'use strict';
const fs = require('fs');
const Module = require('module');

// `node-crc` is native code that is only needed for SDO block transfers; without a compiler it is left out.
const load = Module._load;
Module._load = function (name, ...rest) {
    if (name !== 'node-crc') return load.call(this, name, ...rest);
    return { crc() { throw new Error('no block transfers here'); } };
};
const { Device, DataType, AccessType, NmtState } = require('canopen');

const [role, number, descriptor] = process.argv.slice(2);
const node = Number(number), WIRE = Number(descriptor);
const tell = (event) => fs.writeSync(1, JSON.stringify(event) + '\n');

function send({ id, data }) {
    const head = 't' + id.toString(16).padStart(3, '0') + data.length.toString(16);
    fs.writeSync(WIRE, head + Buffer.from(data).toString('hex') + '\r');
}

function listen(device) {
    let text = '';
    const buffer = Buffer.alloc(4096);
    const next = () => fs.read(WIRE, buffer, 0, buffer.length, null, (error, count) => {
        if (error || count === 0) process.exit(3);
        text += buffer.toString('latin1', 0, count);
        const lines = text.split('\r');
        text = lines.pop();
        for (const line of lines) {
            if (line[0] !== 't') continue; // S8, O, C: settings of the adapter
            const data = Buffer.from(line.slice(5), 'hex');
            device.receive({ id: parseInt(line.slice(1, 4), 16), data, len: data.length });
        }
        next();
    });
    next();
}

function start(device) {
    device.addListener('message', send);
    device.nmt.addListener('heartbeat', ({ deviceId, state }) => tell({ heartbeat: deviceId, state }));
    device.nmt.addListener('timeout', (deviceId) => tell({ timeout: deviceId }));
    device.nmt.addListener('changeState', (state) => tell({ state }));
    device.start();
    listen(device);
}

async function slave() {
    const device = new Device({ id: node });
    device.eds.setIdentity({ vendorId: 0x11223344, productCode: 7, revisionNumber: 2, serialNumber: 4711 });
    device.eds.addSdoServerParameter(127, 0x580 + node, 0x600 + node);
    device.eds.addHeartbeatConsumer(127, 200);
    const entry = (index, dataType, value, accessType = AccessType.READ_WRITE) => {
        device.eds.addEntry(index, { parameterName: 'x' + index.toString(16), dataType, accessType }).value = value;
    };
    entry(0x1008, DataType.VISIBLE_STRING, 'a peer of another house, longer than one segment', AccessType.READ_ONLY);
    entry(0x2000, DataType.UNSIGNED16, 1000);
    entry(0x2001, DataType.INTEGER32, -5, AccessType.READ_ONLY);
    entry(0x2002, DataType.VISIBLE_STRING, 'short');
    device.eds.setHeartbeatProducerTime(20);
    start(device);
    tell({ ready: node });
}

async function master() {
    const device = new Device({ id: 127 });
    device.eds.addSdoClientParameter(node, 0x600 + node, 0x580 + node);
    device.eds.addHeartbeatConsumer(node, 1000);
    start(device);
    const upload = (index, subIndex, dataType) => device.sdo.upload({ serverId: node, index, subIndex, dataType });
    const download = (index, subIndex, dataType, data) =>
        device.sdo.download({ serverId: node, index, subIndex, dataType, data });
    const heard = (wanted) => new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no heartbeat of state ${wanted}`)), 5000);
        device.nmt.on('heartbeat', ({ deviceId, state }) => {
            if (deviceId === node && state === wanted) { clearTimeout(timer); resolve(); }
        });
    });
    tell({ type: await upload(0x1000, 0, DataType.UNSIGNED32) });
    tell({ name: await upload(0x1008, 0, DataType.VISIBLE_STRING) });
    tell({ serial: await upload(0x1018, 4, DataType.UNSIGNED32) });
    await download(0x1017, 0, DataType.UNSIGNED16, 20);
    tell({ producer: await upload(0x1017, 0, DataType.UNSIGNED16) });
    try {
        await upload(0x7777, 0, DataType.UNSIGNED8);
    } catch (error) {
        tell({ abort: error.code });
    }
    await heard(NmtState.PRE_OPERATIONAL);
    device.nmt.startNode(node);
    await heard(NmtState.OPERATIONAL);
    for (const word of [0x06, 0x07, 0x0F, 0x00]) { // a drive of CiA 402: up to operation enabled and out again
        await download(0x6040, 0, DataType.UNSIGNED16, word);
        tell({ statusword: await upload(0x6041, 0, DataType.UNSIGNED16) });
    }
    device.nmt.stopNode(node);
    await heard(NmtState.STOPPED);
    tell({ done: true });
    process.exit(0);
}

(role === 'slave' ? slave() : master()).catch((error) => {
    tell({ error: String(error && error.stack || error) });
    process.exit(4);
});
