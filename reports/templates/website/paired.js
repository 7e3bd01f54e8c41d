"use strict";
// Statistics of pairs: `better` examples are right in the first model alone, `worse` in the second.
const benchPaired = {
  // McNemar's exact two-sided p-value.
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

  // p-values corrected with Holm's procedure.
  holm(values) {
    const order = values.map((p, place) => [p, place]).sort((a, b) => a[0] - b[0]);
    const corrected = [];
    let most = 0;
    order.forEach(([p, place], rank) => {
      most = Math.max(most, Math.min(1, p * (values.length - rank)));
      corrected[place] = most;
    });
    return corrected;
  },

  // Wilson's 95 % interval.
  wilson(correct, n) {
    const z = 1.959963984540054;
    const share = correct / n;
    const middle = (share + (z * z) / (2 * n)) / (1 + (z * z) / n);
    const half = (z / (1 + (z * z) / n)) * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n));
    return [correct ? Math.max(0, middle - half) : 0, correct < n ? Math.min(1, middle + half) : 1];
  },

  // The paired bootstrap's 95 % interval from its exact distribution: the sum of n draws of -1, 0, 1.
  interval(better, worse, n) {
    const difference = (better - worse) / n;
    if ([better, worse, n - better - worse].includes(n)) {
      const room = this.wilson(0, n)[1];
      return [Math.max(-1, difference - room), Math.min(1, difference + room)];
    }
    const step = { first: -1, p: [worse / n, (n - better - worse) / n, better / n] };
    const sum = this.power(step, n);
    let below = 0;
    let low = null;
    for (let place = 0; place < sum.p.length; place += 1) {
      below += sum.p[place];
      if (low === null && below >= 0.025) low = (sum.first + place) / n;
      if (below >= 0.975) return [low, (sum.first + place) / n];
    }
    return [low, 1];
  },

  // The distribution of the sum of n independent draws, by repeated doubling.
  power(step, n) {
    if (n === 1) return step;
    const half = this.power(step, Math.floor(n / 2));
    const whole = this.add(half, half);
    return n % 2 ? this.add(whole, step) : whole;
  },

  add(a, b) {
    const p = new Array(a.p.length + b.p.length - 1).fill(0);
    a.p.forEach((x, i) => b.p.forEach((y, j) => { p[i + j] += x * y; }));
    const kept = p.map((x) => x > 1e-18);
    const start = kept.indexOf(true);
    return { first: a.first + b.first + start, p: p.slice(start, kept.lastIndexOf(true) + 1) };
  },
};
