// Opens pages in Chromium and fails on what a reader would meet: messages in the console, requests,
// dialogs, sideways scrolling, accessibility violations, invalid HTML.
//
//   node check_report.mjs [--screenshots FOLDER] page.html...
//
// Chromium is /usr/bin/chromium, or what the variable CHROMIUM names. The exit status is 0 where
// nothing serious is wrong, 1 where something is, 2 where the check itself could not run.

import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

import { HtmlValidate } from "html-validate";
import { chromium } from "playwright-core";

const CHROMIUM = process.env.CHROMIUM || "/usr/bin/chromium";
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };
const PAPER = { width: 794, height: 1123 }; // A4 at 96 dots an inch
const LOOKS = [
  { name: "light", context: { viewport: DESKTOP, colorScheme: "light" } },
  { name: "dark", context: { viewport: DESKTOP, colorScheme: "dark" } },
  {
    name: "phone",
    context: { viewport: PHONE, colorScheme: "light", isMobile: true, hasTouch: true },
  },
  { name: "print", context: { viewport: PAPER, colorScheme: "light" }, media: "print" },
];
const GRAVE = new Set(["serious", "critical"]);
const MARKUP = {
  root: true,
  extends: ["html-validate:recommended"],
  rules: {
    "aria-label-misuse": ["error", { allowAnyNamable: true }], // a list may have a name
    "doctype-style": "off", // HTML takes either case
  },
};
const LISTED = 5; // places that a finding names
const TALLEST = 30_000; // of an unfolded page in a picture, in pixels

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");

/** What is wrong with a page: `faults` fail the check, `notes` are told; each with its looks. */
async function checkPage(browser, file, folder) {
  const found = { faults: new Map(), notes: new Map() };
  await checkMarkup(file, found);
  for (const look of LOOKS) {
    await checkLook(browser, file, look, folder, found);
  }
  return found;
}

async function checkMarkup(file, found) {
  const report = await new HtmlValidate(MARKUP).validateFile(file);
  for (const { messages } of report.results) {
    for (const [rule, same] of groupBy(messages, (message) => message.ruleId)) {
      const text = `html-validate ${rule} (${same.length}): ${listPlaces(
        same.map((message) => `line ${message.line}: ${message.message}`),
      )}`;
      add(same.some((m) => m.severity === 2) ? found.faults : found.notes, text, "markup");
    }
  }
}

async function checkLook(browser, file, look, folder, found) {
  const address = pathToFileURL(file).href;
  const context = await browser.newContext({ ...look.context, offline: true });
  const fault = (text) => add(found.faults, text, look.name);
  context.on("request", (request) => {
    const url = request.url();
    if (url !== address && !url.startsWith("data:")) {
      fault(`requests ${url.slice(0, 200)}`);
    }
  });
  const page = await context.newPage();
  context.on("page", () => fault("opens another page"));
  page.on("console", (message) => fault(`console ${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => fault(`error in the page: ${error.message}`));
  page.on("crash", () => fault("the page crashed"));
  page.on("download", (download) => fault(`downloads ${download.url().slice(0, 200)}`));
  page.on("dialog", async (dialog) => {
    fault(`dialog: ${dialog.message()}`);
    await dialog.dismiss();
  });
  if (look.media) {
    await page.emulateMedia({ media: look.media });
  }
  await page.goto(address, { waitUntil: "load" });
  const shoot = (name) =>
    page.screenshot({ path: join(folder, `${basename(file, ".html")}-${name}.png`), fullPage: true });
  await shoot(look.name);
  await checkWidth(page, fault);
  if (look.media === "print") {
    await page.pdf({ path: join(folder, `${basename(file, ".html")}.pdf`), preferCSSPageSize: true });
  } else if (await openAll(page)) {
    await checkWidth(page, (text) => fault(`with everything unfolded, ${text}`));
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    if (look.name === "light" && height < TALLEST) {
      await shoot("light-unfolded");
    }
  }
  await checkLinks(page, fault);
  await checkAccess(page, look, found);
  await context.close();
}

/** Unfold every <details>: what is folded away is not looked at otherwise. */
async function openAll(page) {
  return page.evaluate(() => {
    const folded = [...document.querySelectorAll("details:not([open])")];
    for (const details of folded) {
      details.open = true;
    }
    return folded.length;
  });
}

async function checkWidth(page, fault) {
  const wide = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    const scrolls = (node) => node && /auto|scroll|hidden/.test(getComputedStyle(node).overflowX);
    const inside = (node) => node && (scrolls(node) || inside(node.parentElement));
    const culprits = [...document.body.querySelectorAll("*")]
      .filter((node) => node.getBoundingClientRect().right > clientWidth + 1)
      .filter((node) => !inside(node.parentElement))
      .map((node) => `<${node.localName} class="${node.getAttribute("class") ?? ""}">`);
    return { scrollWidth, clientWidth, width: window.innerWidth, culprits };
  });
  const limit = Math.min(wide.clientWidth, page.viewportSize().width);
  if (wide.scrollWidth > limit) {
    fault(`scrolls sideways, ${wide.scrollWidth} of ${limit} px: ${listPlaces(wide.culprits)}`);
  }
}

async function checkLinks(page, fault) {
  const dead = await page.evaluate(() =>
    [...document.querySelectorAll('a[href^="#"]')]
      .map((link) => link.getAttribute("href"))
      .filter((href) => href !== "#" && !document.getElementById(decodeURIComponent(href.slice(1)))),
  );
  if (dead.length) {
    fault(`links to nothing: ${listPlaces(dead)}`);
  }
}

async function checkAccess(page, look, found) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, { resultTypes: ["violations"] }),
  );
  for (const { id, impact, help, nodes } of violations) {
    const places = nodes.map(
      (node) => `${node.target.join(" ")} (${node.any.concat(node.all, node.none)[0]?.message ?? help})`,
    );
    const text = `axe ${id}, ${impact} (${nodes.length}): ${help}: ${listPlaces(places)}`;
    add(GRAVE.has(impact) ? found.faults : found.notes, text, look.name);
  }
}

function add(found, text, look) {
  found.set(text, new Set([...(found.get(text) ?? []), look]));
}

function groupBy(items, key) {
  const groups = new Map();
  for (const item of items) {
    groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  }
  return groups;
}

function listPlaces(places) {
  const unique = [...new Set(places)];
  const more = unique.length > LISTED ? [`and ${unique.length - LISTED} more`] : [];
  return [...unique.slice(0, LISTED), ...more].join("; ");
}

/** Text of a page in one printable line. */
function show(text) {
  return text
    .replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`)
    .slice(0, 1500);
}

async function main() {
  const { values, positionals } = parseArgs({
    options: { screenshots: { type: "string", default: "build/screenshots" } },
    allowPositionals: true,
  });
  const missing = [CHROMIUM, ...positionals].filter((file) => !existsSync(file));
  if (!positionals.length || missing.length) {
    console.error(
      missing.length
        ? `expected existing files, found no ${missing.join(", ")}`
        : "expected pages to check: node check_report.mjs [--screenshots FOLDER] page.html...",
    );
    return 2;
  }
  const folder = resolve(values.screenshots);
  await mkdir(folder, { recursive: true });
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });
  let faulty = 0;
  try {
    for (const file of positionals.map((path) => resolve(path))) {
      const { faults, notes } = await checkPage(browser, file, folder);
      faulty += faults.size ? 1 : 0;
      console.log(`${faults.size ? "FAIL" : "ok  "} ${basename(file)}`);
      for (const [word, texts] of [["fault", faults], ["note", notes]]) {
        for (const [text, looks] of texts) {
          console.log(`     ${word} (${[...looks].join(", ")}): ${show(text)}`);
        }
      }
    }
  } finally {
    await browser.close();
  }
  const looks = LOOKS.map((look) => look.name).join(", ");
  console.log(`${positionals.length - faulty} of ${positionals.length} pages pass (${looks}).`);
  console.log(`Screenshots: ${folder}`);
  return faulty ? 1 : 0;
}

process.exitCode = await main().catch((error) => {
  console.error(error);
  return 2;
});
