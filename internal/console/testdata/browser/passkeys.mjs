// Adds a passkey to an operator's sign-in, signs in with it, and tries what must not work, with Chromium's virtual
// authenticator: node passkeys.mjs BROWSER URL SESSION. POST /advance lets a day pass at the server. It prints
// each step that went right, a line each.
import puppeteer from "puppeteer-core";

const [executablePath, url, session] = process.argv.slice(2);
const patience = 60_000, password = "correct horse battery";
const browser = await puppeteer.launch({ executablePath, headless: true, timeout: patience, protocolTimeout: patience, args: ["--no-sandbox", "--disable-gpu"] });
const page = await browser.newPage();
page.setDefaultTimeout(patience);
page.on("console", (message) => message.type() === "error" && !message.text().includes("403") && console.log(`FAILED the page says ${message.text()}`));
const device = await page.createCDPSession();
await device.send("WebAuthn.enable");
const { authenticatorId } = await device.send("WebAuthn.addVirtualAuthenticator", {
  options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
});

const text = () => page.evaluate(() => document.body.innerText);
const wants = async (step, holds) => console.log(`${holds ? "right" : "FAILED"} ${step}${holds ? "" : `: ${page.url()}\n${await text()}`}`);
const type = async (name, value) => (await page.$(`form[data-passkey] input[name=${name}]`)).type(value);
const leads = (act) => Promise.all([page.waitForNavigation({ timeout: patience }), act()]);
const advance = () => fetch(url + "/advance", { method: "POST" });
const post = (form) => fetch(url + "/sign-in", { method: "POST", body: new URLSearchParams(form), redirect: "manual" });

async function add(typed) {
  await page.goto(url + "/sign-in/sessions");
  await type("name", "laptop");
  await type("password", typed);
  await leads(() => page.click("form[data-passkey] button.primary"));
}

// sign types a name and a password, and has the device sign.
async function sign(name, typed) {
  await page.goto(url + "/sign-in");
  await type("name", name);
  await type("password", typed);
  await leads(() => page.click("[data-use-passkey]"));
}

// signed is a form that the device has signed, and that the server has never seen.
async function signed(name) {
  let form;
  const catches = (request) => {
    if (request.method() !== "POST") return request.continue();
    form = Object.fromEntries(new URLSearchParams(request.postData()));
    request.abort();
  };
  await page.goto(url + "/sign-in");
  await page.setRequestInterception(true);
  page.on("request", catches);
  await type("name", name);
  await type("password", password);
  await page.click("[data-use-passkey]");
  for (const end = Date.now() + patience; !form && Date.now() < end;) await new Promise((done) => setTimeout(done, 20));
  page.off("request", catches);
  await page.setRequestInterception(false);
  return form;
}

await browser.setCookie({ name: "countersign", value: session, domain: "localhost", path: "/", httpOnly: true, sameSite: "Strict" });
await add("a wrong password");
await wants("a session without the password adds none", (await text()).includes("the password is wrong"));
await device.send("WebAuthn.clearCredentials", { authenticatorId });
await add(password);
await wants("a passkey is added", (await text()).includes("laptop") && (await text()).includes("never"));
await page.goto(url + "/sign-in/sessions");
await leads(() => page.click("form[action='/sign-in/out'] button"));

await sign("ann", "a wrong password");
await wants("a passkey without the password signs nobody in", (await text()).includes("is wrong"));
await sign("bob", password);
await wants("another operator's passkey signs nobody in", (await text()).includes("is wrong"));
await sign("ann", password);
await wants("a passkey signs in", page.url() === url + "/" && (await page.content()).includes("ann<br>admin"));
await page.goto(url + "/sign-in/sessions");
await leads(() => page.click("form[action='/sign-in/out'] button"));

await advance();
const form = await signed("ann"), answer = JSON.parse(form.passkey);
const changed = (change) => { const other = structuredClone(answer); change(other.response); return { ...form, passkey: JSON.stringify(other) }; };
const flipped = (value) => (value[10] === "A" ? value.slice(0, 10) + "B" : value.slice(0, 10) + "A") + value.slice(11);
const data = JSON.parse(Buffer.from(answer.response.clientDataJSON, "base64url"));
const dataOf = (more) => Buffer.from(JSON.stringify({ ...data, ...more })).toString("base64url");
for (const [what, wrong] of [
  ["a changed signature", changed((r) => (r.signature = flipped(r.signature)))],
  ["another site's answer", changed((r) => (r.clientDataJSON = dataOf({ origin: "https://evil.example" })))],
  ["a challenge that nobody made", changed((r) => (r.clientDataJSON = dataOf({ challenge: flipped(data.challenge) })))],
  ["no answer", { ...form, passkey: "{}" }],
]) await wants(`${what} signs nobody in`, (await post(wrong)).status === 403);
await wants("what the device signed signs in", (await post(form)).status === 303);
await wants("it signs in once", (await post(form)).status === 403);
await advance();
const [older, newer] = [await signed("ann"), await signed("ann")];
await wants("a newer one signs in", (await post(newer)).status === 303);
await wants("an older one signs nobody in after that", (await post(older)).status === 403);
const late = await signed("ann");
await advance();
await wants("one that took too long signs nobody in", (await post(late)).status === 403);

await sign("ann", password);
await page.goto(url + "/sign-in/sessions");
await leads(() => page.click("form[action='/sign-in/passkeys/remove'] button"));
await wants("a passkey is removed", !(await text()).includes("laptop"));
await sign("ann", password);
await wants("a removed passkey signs nobody in", (await text()).includes("is wrong"));
await browser.close();
