// Pages that are opened as files may start no worker; the search runs in a hidden frame then.
// Loaded by the theme as a polyfill: it waits for nothing and defines Worker anew for file: only.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.title = "search";
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      // What the worker's script posts goes to the page, as it would from a worker.
      inside.postToPage = (data) =>
        this.dispatchEvent(new MessageEvent("message", { data }));
      const text = inside.document;
      text.open();
      text.write(`<script>
        const toSelf = window.postMessage.bind(window);
        window.postMessage = (data) => window.postToPage(data);
        window.toSelf = (data) => toSelf(data, "*");
        // Scripts that a worker imports come in order, before it goes on.
        window.importScripts = (...urls) => urls
          .map((one) => new Promise((done, failed) => {
            const script = document.createElement("script");
            script.src = one;
            script.onload = done;
            script.onerror = failed;
            document.head.append(script);
          }))
          .reduce((before, next) => before.then(() => next), Promise.resolve());
      <\/script><script src="${url}"><\/script>`);
      text.close();
      this.ready = new Promise((loaded) => inside.addEventListener("load", loaded));
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.toSelf(data));
    }
    terminate() {
      this.frame.remove();
    }
  };
}
