// Runs the page of docs/start.md without a browser: node page.mjs URL. Prints what the page shows, "element: line".
const url = process.argv[2];
const get = async (path) => {
  const response = await fetch(url + path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.text();
};
const page = await get("");
const script = /<script type="module">([^]*?)<\/script>/.exec(page)[1];
const tokens = await get(/<script src="(.*?)">/.exec(page)[1]);
const client = /from "\.\/(.*?)"/.exec(script)[1];
await get(client); // it is there; its own code needs a browser

globalThis.document = {
  getElementById(id) {
    if (!page.includes(`<pre id="${id}">`)) throw new Error(`no element ${id}`);
    return { append: (text) => process.stdout.write(`${id}: ${text}`) };
  },
};
const { io } = await import("socket.io-client");
new Function("io", tokens + script.replace(/import .*/, ""))(io);
