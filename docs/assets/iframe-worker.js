/* Search in pages that are opened from a folder, where browsers start no workers: the worker's script runs in a hidden
   frame instead. Pages from a server use workers. The theme would fetch such a script from elsewhere. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = this.onerror = null;
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.appendChild(this.frame);
      this.hear = event => {
        if (event.source !== this.frame.contentWindow) return;
        const message = new MessageEvent("message", { data: event.data });
        this.dispatchEvent(message);
        if (this.onmessage) this.onmessage(message);
      };
      window.addEventListener("message", this.hear);
      const inner = this.frame.contentDocument;
      inner.open();
      inner.write(`<!doctype html><body><script>
        window.postMessage = data => parent.dispatchEvent(new MessageEvent("message", { data, source: window }));
        window.importScripts = (...urls) => urls.reduce((loaded, src) => loaded.then(() => new Promise(done => {
          document.body.appendChild(Object.assign(document.createElement("script"), { src, onload: done }));
        })), Promise.resolve());
      <\/script><script src="${url}"><\/script></body>`);
      inner.close();
    }
    postMessage(data) {
      const tell = () => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
      if (this.frame.contentDocument.readyState === "complete") tell();
      else this.frame.addEventListener("load", tell, { once: true });
    }
    terminate() {
      window.removeEventListener("message", this.hear);
      this.frame.remove();
    }
  };
}
