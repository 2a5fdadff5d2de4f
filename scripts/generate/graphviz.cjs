// Reads DOT from stdin and writes SVG to stdout. The one argument names the layout engine.
const { instance } = require("@viz-js/viz");
const { readFileSync } = require("node:fs");

instance().then((viz) => {
  const result = viz.render(readFileSync(0, "utf8"), { format: "svg", engine: process.argv[2] });
  for (const { level, message } of result.errors) console.error(`${level}: ${message}`);
  if (result.status !== "success" || result.errors.length > 0) process.exit(1);
  process.stdout.write(result.output);
});
