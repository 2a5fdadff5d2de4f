// Uses Swagger UI in a browser: authorizes, adds a todo, lists the todos. Prints the results as JSON.
// Arguments: the path of Chromium, the URL of Swagger UI, a token, the path of the screenshot to write.
const { chromium } = require("playwright-core");

const [executablePath, url, token, screenshot] = process.argv.slice(2);

async function execute(page, id, body) {
  const operation = page.locator(`.opblock[id$="-${id}"]`);
  await operation.locator("button.opblock-summary-control").click();
  const description = await operation.locator(".opblock-section").first().innerText();
  await operation.getByRole("button", { name: "Try it out" }).click();
  if (body) await operation.locator("textarea.body-param__text").fill(body);
  await operation.getByRole("button", { name: "Execute" }).click();
  const live = operation.locator("table.live-responses-table");
  await live.waitFor();
  return {
    description,
    status: (await live.locator("tbody td.response-col_status").innerText()).trim(),
    answer: await live.innerText(),
  };
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const page = await browser.newPage({ viewport: { width: 1280, height: 1600 } });
  const browserErrors = [];
  page.on("pageerror", (error) => browserErrors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") browserErrors.push(message.text());
  });
  await page.goto(url);
  await page.getByRole("button", { name: "Authorize" }).first().waitFor();
  const asGuest = await page.locator(".opblock").count();

  await page.getByRole("button", { name: "Authorize" }).first().click();
  const dialog = page.locator(".modal-ux");
  await dialog.locator("input").fill(token);
  await dialog.getByRole("button", { name: "Apply credentials" }).click();
  await dialog.getByRole("button", { name: "Close" }).click();
  await page.locator('.opblock[id$="-get_todos"]').waitFor();
  const operations = await page
    .locator(".opblock")
    .evaluateAll((blocks) => blocks.map((block) => block.id.replace(/^operations-.*-/, "")));

  const added = await execute(page, "post_todos", '{"text": "typed in Swagger UI"}');
  const listed = await execute(page, "get_todos");
  const called = await execute(
    page,
    "post_rpc_session_context",
    '{"session_id": "unknown"}',
  );
  await page.screenshot({ path: screenshot, fullPage: false });
  await browser.close();
  process.stdout.write(JSON.stringify({ asGuest, operations, added, listed, called, browserErrors }));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
