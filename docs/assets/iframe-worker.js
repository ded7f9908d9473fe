// Pages that are opened as files may start no worker: there the search runs in a hidden frame. The theme
// loads this before its own script.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.title = "Search";
      document.body.append(frame);
      this.inside = frame.contentWindow;
      // What the worker's script posts goes to the page, as it would from a worker.
      this.inside.toPage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const text = frame.contentDocument;
      text.open();
      text.write(
        "<script>toWorker = postMessage.bind(window); postMessage = (data) => toPage(data);<\/script>",
        `<script src="${url}"><\/script>`,
      );
      text.close();
      this.ready = new Promise((loaded) => this.inside.addEventListener("load", loaded));
    }
    postMessage(data) {
      this.ready.then(() => this.inside.toWorker(data, "*"));
    }
  };
}
