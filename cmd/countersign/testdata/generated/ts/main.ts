// A verification through each of its ends, by a client that is made from docs/openapi.json alone.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };
const [url, token] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } });

type Started = components["schemas"]["Verification"];

async function start(to: string, more: Partial<components["schemas"]["NewVerification"]> = {}): Promise<Started> {
  const { data, error } = await client.POST("/v1/verifications", { body: { to, purpose: "login", ...more } });
  if (!data) throw new Error(JSON.stringify(error));
  return data;
}

async function check(v: Started, code: string) {
  const { data, error } = await client.POST("/v1/verifications/{id}/check", { params: { path: { id: v.id } }, body: { code } });
  if (!data) throw new Error(JSON.stringify(error));
  return data;
}

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  for (let i = 0; i < 1200; i++) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`waited in vain for ${what}`);
}

async function codeOf(v: Started): Promise<string> {
  return until("the message", async () => {
    const { messages } = await (await fetch(`${url}/simulator/messages?to=${encodeURIComponent(v.to)}`)).json();
    const message = messages.find((m: { verification_id: string }) => m.verification_id === v.id);
    return message?.body.match(/\d{6}/)?.[0];
  });
}

const say = (what: string, r: components["schemas"]["CheckResult"]) => console.log(what, r.valid, r.status, r.reason ?? "-");

const approved = await start("+12025550110");
const right = await codeOf(approved);
say("wrong", await check(approved, "x"));
const byNumber = await client.POST("/v1/checks", { body: { to: approved.to, purpose: "login", code: right } });
say("right", byNumber.data!);
say("again", await check(approved, right));

const exhausted = await start("+12025550111", { max_attempts: 1 });
say("last", await check(exhausted, "x"));
say("exhausted", await check(exhausted, "x"));

const canceled = await start("+12025550112");
await client.POST("/v1/verifications/{id}/cancel", { params: { path: { id: canceled.id } } });
say("canceled", await check(canceled, "x"));
const twice = await client.POST("/v1/verifications/{id}/cancel", { params: { path: { id: canceled.id } } });
console.log("conflict", twice.error?.status, twice.error?.code);

const superseded = await start("+12025550113");
await start("+12025550113");
say("superseded", await check(superseded, "x"));

const expired = await start("+12025550114", { valid_for: 1 });
await until("the end", async () => {
  const { data } = await client.GET("/v1/verifications/{id}", { params: { path: { id: expired.id } } });
  return data?.status === "expired" ? true : undefined;
});
say("expired", await check(expired, "x"));

const absent = await client.GET("/v1/verifications/{id}", { params: { path: { id: "01a20001-6a64-717b-aab1-8ad86b1658e8" } } });
console.log("absent", absent.error?.status, absent.error?.code);
const invalid = await client.POST("/v1/verifications", { body: { to: "12" } });
console.log("invalid", invalid.error?.status, invalid.error?.code, invalid.error?.errors?.[0].field);
const list = await client.GET("/v1/verifications", { params: { query: { to: superseded.to } } });
console.log("list", list.data?.verifications?.map((v) => v.status).join(" "));
