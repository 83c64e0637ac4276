/** What a page loads for `import { connect } from "/rt/client.js"`, bundled, minified and compressed. */
import { buildSync } from "esbuild";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const client = fileURLToPath(new URL("../../src/rtbridge/js/client.js", import.meta.url));

/** @returns {{minified: number, gzipped: number}} bytes */
export function size() {
    const [{ contents }] = buildSync({
        entryPoints: [client], bundle: true, minify: true, format: "esm", external: ["./msgpack.js", "./private.js", "./presence.js", "./offline.js", "./vault.js"], write: false,
    }).outputFiles;
    return { minified: contents.length, gzipped: gzipSync(contents, { level: 9 }).length };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(size());
