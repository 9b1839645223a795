// Looks at pages as people do, and prints what is wrong with them, a line each: node check.mjs CHROMIUM URL PATH...
// Each page is opened in both themes, at two widths: axe judges it, and nothing is wider than the screen. At each width, the Tab key
// reaches all that can be used, which no theme changes.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [executablePath, url, ...paths] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
let seen = 0;

async function look(context, path, name, walked) {
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const say = (what) => console.log(`${path} (${name}): ${what}`);
  page.on("console", (message) => { // such as a breach of the CSP; a page that isn't there is no error of its own
    if (message.type() === "error" && message.location().url !== url + path) say(message.text());
  });
  page.on("request", (request) => request.url().startsWith(url) || say(`asks for ${request.url()}`));
  await page.goto(url + path);
  seen++;
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const violation of violations) {
    for (const node of violation.nodes) say(`axe ${violation.id}: ${node.html.slice(0, 200)}: ${node.failureSummary.replaceAll(/\s+/g, " ")}`);
  }
  const [wide, width] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  if (wide > width) say(`${wide} pixels wide on a screen of ${width}`);
  if (walked) await walk(page, say);
  await page.close();
}

// walk presses Tab until it has been everywhere.
async function walk(page, say) {
  const all = await page.evaluate(() => {
    const usable = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary, audio")].filter((e) => e.checkVisibility() && !e.disabled);
    usable.forEach((element, i) => (element.dataset.place = i));
    document.activeElement?.blur();
    return usable.map((element) => element.outerHTML.slice(0, 120));
  });
  const reached = new Set();
  for (let i = 0; i < all.length + 10 && reached.size < all.length; i++) {
    await page.keyboard.press("Tab");
    const [place, outlined] = await page.evaluate(() => {
      const focused = document.activeElement, style = getComputedStyle(focused), box = focused.closest("label") && getComputedStyle(focused.closest("label"));
      return [focused.dataset.place, style.outlineStyle !== "none" || box?.outlineStyle !== "none"];
    });
    if (place === undefined) continue;
    if (!outlined && !reached.has(place)) say(`nobody sees that the focus is on ${all[place]}`);
    reached.add(place);
  }
  all.forEach((html, i) => reached.has(String(i)) || say(`Tab doesn't reach ${html}`));
}

// The themes are looked at side by side: a browser has a process for each page.
await Promise.all(["light", "dark"].map(async (colorScheme) => {
  for (const width of [1100, 390]) {
    const context = await browser.newContext({ colorScheme, viewport: { width, height: 800 } });
    for (const path of paths) await look(context, path, `${colorScheme}, ${width}`, colorScheme === "light");
    await context.close();
  }
}));
await browser.close();
console.log(`looked at ${seen} pages`);
