// Put into Galène's page before its own scripts: records what the page plays.
// Every unmuted media element is a source; their sum, mono at 48 kHz, is kept until the test asks for it.
// (The page's own microphone is shown in a muted element, so it is not recorded.)
'use strict';

window.lab = {
    context: null,
    chunks: [],
    sources: new Map(),

    async record() {
        const worklet = `
            registerProcessor('lab-recorder', class extends AudioWorkletProcessor {
                process(inputs) {
                    const channels = inputs[0];
                    const samples = new Int16Array(128);
                    for (let i = 0; i < 128; i++) {
                        let sum = 0;
                        for (const channel of channels) sum += channel[i];
                        const mono = channels.length ? sum / channels.length : 0;
                        samples[i] = Math.max(-32768, Math.min(32767, Math.round(mono * 32767)));
                    }
                    this.port.postMessage(samples.buffer, [samples.buffer]);
                    return true;
                }
            });`;
        this.context = new AudioContext({ sampleRate: 48000 });
        const module = URL.createObjectURL(new Blob([worklet], { type: 'text/javascript' }));
        await this.context.audioWorklet.addModule(module);
        this.recorder = new AudioWorkletNode(this.context, 'lab-recorder');
        this.recorder.port.onmessage = event => this.chunks.push(new Uint8Array(event.data));
        this.recorder.connect(this.context.destination);
        await this.context.resume();
        this.connect();
        this.timer = setInterval(() => this.connect(), 100);
    },

    // streams come and go while we record
    connect() {
        const playing = new Set();
        for (const element of document.querySelectorAll('video, audio')) {
            const stream = element.srcObject;
            if (element.muted || !(stream instanceof MediaStream) || !stream.getAudioTracks().length) continue;
            playing.add(stream);
            if (this.sources.has(stream)) continue;
            const source = this.context.createMediaStreamSource(stream);
            source.connect(this.recorder);
            this.sources.set(stream, source);
        }
        for (const [stream, source] of this.sources) {
            if (playing.has(stream)) continue;
            source.disconnect();
            this.sources.delete(stream);
        }
    },

    // base64 of everything since the last call, signed 16 bit, little endian
    async take() {
        const blob = new Blob(this.chunks);
        this.chunks = [];
        const url = await new Promise((resolve, reject) => {
            const reader = new FileReader();
            reader.onload = () => resolve(reader.result);
            reader.onerror = () => reject(reader.error);
            reader.readAsDataURL(blob);
        });
        return url.slice(url.indexOf(',') + 1);
    },
};
