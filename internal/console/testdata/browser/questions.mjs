// Asks what operators ask, and answers by the pages alone, each from the first page on: node questions.mjs chrome|firefox
// BROWSER URL. A click on a link, a button or a choice counts; typing and reading don't. It prints each question with its
// clicks, and fails where a page doesn't have the answer or it takes more than three clicks.
import puppeteer from "puppeteer-core";

const [browser, executablePath, url] = process.argv.slice(2);
const most = 3, patience = 60_000;

const questions = [
  ["Did +1 202 555 0102 get a code, and why not?", async (me) => {
    await me.find("+1 (202) 555-0102");
    await me.row("link", 0);
    return me.reads("Attempt 1: errored", "no_credit · 402", "Attempt 2: the carrier reports failed", "unreachable · 27");
  }],
  ["Why does +1 202 555 0103 wait, and can it try again?", async (me) => {
    await me.find("+12025550103");
    await me.row("link", 0);
    await me.clicks("Forget wrong guesses");
    return me.reads("The number's wrong guesses are forgotten");
  }],
  ["Whose number is it, in full, for the police?", async (me) => {
    await me.find("+12025550101");
    await me.row("link", 0);
    await me.clicks("Reveal the number");
    return me.reads("+12025550101");
  }],
  ["Which country had the lowest conversion last week, and what did it cost?", async (me) => {
    await me.clicks("Traffic");
    await me.chooses("range", "7d");
    await me.clicks("Show");
    return me.reads("Lowest share approved: LK, 0 % of 20 starts, at a cost of 0.20 EUR.");
  }],
  ["Stop sending to LK.", async (me) => {
    await me.clicks("Traffic");
    await me.row("Stop…", "LK");
    await me.clicks("Stop messages to LK");
    return me.reads("operator dev");
  }],
  ["Send to LK again.", async (me) => {
    await me.clicks("Traffic");
    await me.row("Allow…", "LK");
    await me.clicks("Allow messages to LK");
    return me.reads("None: messages go to all countries");
  }],
  ["Which carrier fails, and what does it say?", async (me) => {
    await me.clicks("Carriers");
    return me.reads("takes nothing: no credit", "402");
  }],
  ["Take the carrier out of service.", async (me) => {
    await me.clicks("Carriers");
    await me.row("Drain…", "broke");
    await me.clicks("Drain broke");
    return me.reads("Drained carriers");
  }],
  ["What did each carrier cost in the last 30 days?", async (me) => {
    await me.clicks("Usage");
    await me.chooses("by", "carrier");
    await me.clicks("Show");
    return me.reads("By Carrier", "0.43 EUR");
  }],
  ["How much of the project's budget is used, and what was paid in?", async (me) => {
    await me.clicks("Projects");
    await me.clicks("Test");
    return me.reads("Messages today", "top-up", "invoice 7");
  }],
  ["How does the German login text look on a phone, and in how many segments?", async (me) => {
    await me.clicks("Texts");
    return me.reads("000000 ist Ihr Code.", "GSM-7");
  }],
  ["Who stopped LK, and when?", async (me) => {
    await me.clicks("Audit");
    return me.reads("country stop", "LK");
  }],
];

class Me {
  constructor(page) { this.page = page; this.count = 0; }

  async leads(act) { // to another page
    this.count++;
    await Promise.all([this.page.waitForNavigation({ timeout: patience }), act()]);
  }

  // element finds the link, button or field that a person would see.
  async element(what, choose, ...args) {
    const found = (await this.page.evaluateHandle(choose, ...args)).asElement();
    if (!found) throw new Error(`there is no ${what} on ${this.page.url()}`);
    return found;
  }

  async clicks(name) {
    const found = await this.element(name, (name) => [...document.querySelectorAll("a, button")].find((e) => e.textContent.trim() === name && e.checkVisibility()) ?? null, name);
    await this.leads(() => found.click());
  }

  // row clicks a link in a table's row: the first link of row 0, or the one of that name in the row that begins so.
  async row(name, which) {
    const found = await this.element(`${name} in row ${which}`, (name, which) => {
      const rows = [...document.querySelectorAll("tbody tr")];
      const row = typeof which === "number" ? rows[which] : rows.find((r) => r.cells[0].textContent.trim() === which && [...r.querySelectorAll("a")].some((a) => a.textContent === name));
      return [...(row?.querySelectorAll("a") ?? [])].find((a) => typeof which === "number" || a.textContent === name) ?? null;
    }, name, which);
    await this.leads(() => found.click());
  }

  async find(text) {
    await (await this.element("find box", () => document.querySelector("input[name=q]"))).type(text);
    const button = await this.element("Find", () => document.querySelector("form[action='/find'] button"));
    await this.leads(() => button.click());
  }

  async chooses(name, value) {
    this.count++;
    await this.page.select(`select[name=${name}]`, value);
  }

  async reads(...all) {
    const text = await this.page.evaluate(() => document.body.innerText);
    for (const one of all) if (!text.includes(one)) throw new Error(`${this.page.url()} doesn't say "${one}":\n${text}`);
  }
}

const options = browser === "firefox" ? { browser } : { args: ["--no-sandbox", "--disable-gpu"] };
const running = await puppeteer.launch({ executablePath, headless: true, timeout: patience, protocolTimeout: patience, ...options });
let failed = 0;
for (const [question, answer] of questions) {
  const page = await running.newPage();
  page.setDefaultTimeout(patience);
  const me = new Me(page);
  try {
    await page.goto(url + "/", { timeout: patience });
    await answer(me);
    if (me.count > most) throw new Error(`takes ${me.count} clicks`);
    console.log(`${me.count} ${question}`);
  } catch (error) {
    failed++;
    console.log(`FAILED ${question}\n${error.message}`);
  }
  await page.close();
}
await running.close();
process.exit(failed ? 1 : 0);
