import { test } from "node:test";
import assert from "node:assert";
import { addPrices } from "../src/till.js";

test("prices are added", () => {
  assert.equal(addPrices([120, 80]), 200);
});
