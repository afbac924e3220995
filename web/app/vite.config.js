import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'vite';

const here = (path) => new URL(path, import.meta.url).pathname;

/** Writes the licences of what is bundled beside the bundle. */
function licences() {
  return {
    name: 'licences',
    generateBundle(_options, bundle) {
      const found = new Map();
      for (const chunk of Object.values(bundle)) {
        for (const id of chunk.moduleIds ?? []) {
          const [, root, name] = /^(.*\/node_modules\/)((?:@[^/]+\/)?[^/]+)\//.exec(id) ?? [];
          if (!name || found.has(name)) continue;
          const { version, license } = JSON.parse(readFileSync(join(root, name, 'package.json'), 'utf8'));
          const file = ['LICENSE', 'LICENSE.md', 'license'].map((f) => join(root, name, f)).find(existsSync);
          found.set(name, `${name} ${version}, ${license}\n\n${file ? readFileSync(file, 'utf8').trim() : ''}\n`);
        }
      }
      const source = [...found.keys()].sort().map((name) => found.get(name)).join(`\n${'-'.repeat(80)}\n\n`);
      this.emitFile({ type: 'asset', fileName: 'assets/licences.txt', source });
    },
  };
}

/** Where npm run dev finds a node with --demo and --origins '*'. */
const node = process.env.NODE_URL ?? 'http://localhost:8080';

// The names of the files have no hashes: the node serves them with an ETag, and what is built can be compared. That of
// the SharedWorker has one, since a browser may still run that of an older page.
export default defineConfig({
  plugins: [licences()],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  resolve: {
    // The kit is taken from its sources, and what it needs from here.
    alias: [
      { find: /^@guildcast\/client$/, replacement: here('../../clients/typescript/src/index.ts') },
      { find: /^@guildcast\/client\/(.+)$/, replacement: here('../../clients/typescript/src/$1.ts') },
      { find: /^socket\.io-client$/, replacement: here('node_modules/socket.io-client') },
    ],
  },
  build: {
    outDir: '../static',
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: false,
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        entryFileNames: 'assets/[name].js',
        chunkFileNames: 'assets/[name].js',
        assetFileNames: 'assets/[name][extname]',
      },
    },
  },
  server: {
    proxy: {
      '/socket.io': { target: node, ws: true },
      '/demo': node,
    },
  },
});
