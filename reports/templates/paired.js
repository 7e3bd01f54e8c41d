"use strict";
// Statistics of pairs: `better` examples are right in the first model alone, `worse` in the second.
const benchPaired = {
  // McNemar's exact two-sided p-value, not corrected.
  mcnemar(better, worse) {
    const trials = better + worse;
    let log = -trials * Math.LN2;
    let sum = Math.exp(log);
    for (let k = 1; k <= Math.min(better, worse); k += 1) {
      log += Math.log((trials - k + 1) / k);
      sum += Math.exp(log);
    }
    return Math.min(1, 2 * sum);
  },

  // Wilson's 95 % interval.
  wilson(correct, n) {
    const z = 1.959963984540054;
    const share = correct / n;
    const middle = (share + (z * z) / (2 * n)) / (1 + (z * z) / n);
    const half = (z / (1 + (z * z) / n)) * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n));
    return [correct ? Math.max(0, middle - half) : 0, correct < n ? Math.min(1, middle + half) : 1];
  },

  // How many comparisons the family of so many rows holds, at least one.
  pairs(rows) {
    return Math.max(1, (rows * (rows - 1)) / 2);
  },

  // The difference in accuracy with p-value and 95 % interval, both corrected for the comparisons of
  // the family: the interval excludes 0 exactly when p is at most 0.05.
  difference(better, worse, n, comparisons) {
    const level = 0.05 / comparisons;
    const [low, high] = this.exact(better, better + worse, level).map((end) => 2 * end - 1);
    const [least, most] = this.exact(better + worse, n, level);
    return {
      difference: (better - worse) / n,
      low: low * (low > 0 ? least : most),
      high: high * (high > 0 ? most : least),
      p_corrected: Math.min(1, comparisons * this.mcnemar(better, worse)),
    };
  },

  // Clopper and Pearson's exact interval of a share; 0 to 1 where nothing was tried.
  exact(successes, trials, level) {
    const least = (hits) => this.solve((share) => this.atLeast(hits, trials, share) - level / 2);
    return [successes ? least(successes) : 0, successes < trials ? 1 - least(trials - successes) : 1];
  },

  // The probability of so many successes or more.
  atLeast(hits, trials, share) {
    let log = 0;
    for (let k = 1; k <= hits; k += 1) log += Math.log((trials - k + 1) / k);
    const [yes, no] = [Math.log(share), Math.log1p(-share)];
    let sum = 0;
    for (let k = hits; k <= trials; k += 1) {
      sum += Math.exp(log + k * yes + (trials - k) * no);
      log += Math.log((trials - k) / (k + 1));
    }
    return sum;
  },

  // Where a function that rises from below 0 at 0 to above 0 at 1 is 0.
  solve(rising) {
    let [low, high] = [0, 1];
    for (let step = 0; step < 60; step += 1) {
      const middle = (low + high) / 2;
      if (rising(middle) < 0) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  },
};
