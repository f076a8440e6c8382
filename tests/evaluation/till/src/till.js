/** Return the sum of prices, in cents. */
export function addPrices(prices) {
  return prices.reduce((sum, price) => sum + price, 0);
}

/** Return a total with a discount, in whole cents. */
export function withDiscount(total, percent) {
  return total - (total * percent) / 100;
}

/** Return what each of several people pays, in whole cents; together they pay the total. */
export function split(total, people) {
  return Array(people).fill(Math.floor(total / people));
}
