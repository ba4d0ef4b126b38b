// What every script here shares: BASE, KEY and MODEL from the command line, and checks that are counted and printed.
export const [BASE, KEY, MODEL] = process.argv.slice(2);
let failed = 0;
let passed = 0;

export function check(name, good, got) {
  if (good) {
    passed += 1;
  } else {
    failed += 1;
    console.log(`FAIL ${name}: ${JSON.stringify(got)?.slice(0, 500)}`);
  }
}

export function done() {
  console.log(failed ? `FAILED ${failed}` : `PASSED ${passed}`);
  process.exit(failed ? 1 : 0);
}

export const SYSTEM = 'Cite a paragraph of the handbook, and promise nothing. '.repeat(400);
export const SCHEMA = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
