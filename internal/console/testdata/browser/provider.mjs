// Signs in by a provider on another site, as a person would, and prints who the console says they are:
// node provider.mjs chrome|firefox BROWSER URL USER
import puppeteer from "puppeteer-core";

const [browser, executablePath, url, user] = process.argv.slice(2);
const patience = 60_000;
const options = browser === "firefox" ? { browser } : { args: ["--no-sandbox", "--disable-gpu"] };
const running = await puppeteer.launch({ executablePath, headless: true, timeout: patience, protocolTimeout: patience, ...options });
const page = await running.newPage();
page.setDefaultTimeout(patience);
await page.goto(url + "/"); // leads to the sign-in
await Promise.all([page.waitForNavigation(), page.click("a[href='/sign-in/oidc']")]);
await (await page.waitForSelector("#username")).type(user);
await (await page.$("#password")).type("verysecure");
await page.click("button");
await page.waitForSelector(".who"); // the page after the sign-in goes on to the console by itself
console.log(await page.$eval(".who", (e) => e.textContent));
await running.close();
