// The losses of the playground with their gradients: a port of rebalance.losses and rebalance.boxes with their
// default options, for a pair of boxes and a handful of scores. A test compares it with the Python functions.
"use strict";
const rebalance = (() => {
  // --- numbers with their derivatives by the four corners of the predicted box -----------------------------

  class Dual {
    constructor(value, slopes = [0, 0, 0, 0]) {
      this.value = value;
      this.slopes = slopes;
    }
  }
  const dual = (x) => (x instanceof Dual ? x : new Dual(x));
  /** f of several numbers, by its value and its partial derivatives. */
  const apply = (value, ...parts) =>
    new Dual(value, [0, 1, 2, 3].map((k) => parts.reduce((sum, [x, by]) => sum + (by && by * x.slopes[k]), 0)));
  const binary = (f) => (a, b) => f(dual(a), dual(b));
  const add = binary((a, b) => apply(a.value + b.value, [a, 1], [b, 1]));
  const sub = binary((a, b) => apply(a.value - b.value, [a, 1], [b, -1]));
  const mul = binary((a, b) => apply(a.value * b.value, [a, b.value], [b, a.value]));
  const div = binary((a, b) => apply(a.value / b.value, [a, 1 / b.value], [b, -a.value / b.value ** 2]));
  /** 0, with gradient 0, where the denominator is not positive. */
  const ratio = binary((a, b) => (b.value > 0 ? div(a, b) : dual(0)));
  // Of two equal numbers each has half of the gradient, as in torch.
  const share = (first, equal) => (equal ? [0.5, 0.5] : first ? [1, 0] : [0, 1]);
  const pick = (better) =>
    binary((a, b) => {
      const [of_a, of_b] = share(better(a.value, b.value), a.value === b.value);
      return apply(better(a.value, b.value) ? a.value : b.value, [a, of_a], [b, of_b]);
    });
  const max = pick((a, b) => a > b);
  const min = pick((a, b) => a < b);
  const atLeast = (a, low) => (a.value > low ? a : dual(low)); // flat at the end, as torch's clamp
  const abs = (a) => apply(Math.abs(a.value), [a, Math.sign(a.value)]);
  const square = (a) => mul(a, a);
  const log = (a) => apply(Math.log(a.value), [a, 1 / a.value]);
  const exp = (a) => apply(Math.exp(a.value), [a, Math.exp(a.value)]);
  const power = (a, by) => apply(a.value ** by, [a, by * a.value ** (by - 1)]);
  const detach = (a) => dual(a.value);
  const total = (...all) => all.reduce(add);
  /** The angle of a box by its width and height. */
  const angle = (w, h) => {
    const norm = w.value ** 2 + h.value ** 2;
    return apply(Math.atan2(w.value, h.value), [w, norm && h.value / norm], [h, norm && -w.value / norm]);
  };

  // --- boxes, [x1, y1, x2, y2] in pixels --------------------------------------------------------------------

  const sizes = ([x1, y1, x2, y2]) => [sub(x2, x1), sub(y2, y1)];
  const centers = ([x1, y1, x2, y2]) => [div(add(x1, x2), 2), div(add(y1, y2), 2)];
  const area = (box) => mul(...sizes(box));
  const overlap = (p, t) => [0, 1].map((k) => atLeast(sub(min(p[k + 2], t[k + 2]), max(p[k], t[k])), 0));
  const hull = (p, t) => [0, 1].map((k) => sub(max(p[k + 2], t[k + 2]), min(p[k], t[k])));
  const interUnion = (p, t) => {
    const inter = mul(...overlap(p, t));
    return [inter, sub(add(area(p), area(t)), inter)];
  };
  const iou = (p, t) => ratio(...interUnion(p, t));
  const squaredDistance = (p, t) => {
    const [a, b] = [centers(p), centers(t)];
    return add(square(sub(a[0], b[0])), square(sub(a[1], b[1])));
  };
  /** GGIoU paper, Eq. 2-4. */
  const ggiou = (p, t, alpha = 0.3, beta = 1 / 6) => {
    const value = iou(p, t);
    if (!(value.value > 0)) return dual(0);
    const [a, b, measure] = [centers(p), centers(t), overlap(p, t)];
    const terms = [0, 1].map((k) => ratio(square(sub(a[k], b[k])), square(mul(beta, measure[k]))));
    return mul(power(value, 1 - alpha), exp(mul(-alpha / 2, add(...terms))));
  };

  // --- losses of a box ----------------------------------------------------------------------------------------

  const EPS = 1e-7;
  const smoothL1 = (x, beta = 1) => {
    const error = abs(x);
    return error.value < beta ? div(square(x), 2 * beta) : sub(error, beta / 2);
  };
  const balancedL1 = (x, alpha = 0.5, gamma = 1.5) => {
    const kappa = Math.expm1(gamma / alpha);
    const error = abs(x);
    if (error.value >= 1) return add(mul(gamma, error), gamma / kappa - alpha);
    const grown = add(mul(kappa, error), 1);
    return sub(mul(alpha / kappa, mul(grown, log(grown))), mul(alpha, error));
  };
  const focalL1 = (x, beta = 0.8) => {
    const alpha = Math.E * beta;
    const error = abs(x);
    const slope = -alpha * Math.log(beta);
    if (error.value >= 1) return add(mul(slope, error), (2 * alpha * Math.log(beta) + alpha) / 4);
    if (error.value === 0) return dual(0);
    return mul(mul(-alpha / 4, square(error)), sub(mul(2, log(mul(beta, error))), 1));
  };
  /** The deltas of the prediction when its reference box is the target, whose own deltas are 0. */
  const deltas = (p, t) => {
    const [a, b, of_p, of_t] = [centers(p), centers(t), sizes(p), sizes(t)];
    return [0, 1].map((k) => div(sub(a[k], b[k]), of_t[k])).concat([0, 1].map((k) => log(div(of_p[k], of_t[k]))));
  };
  const onDeltas = (loss) => (p, t) => total(...deltas(p, t).map((x) => loss(x)));
  const weighted = (weight) => (p, t) => mul(detach(weight(p, t)), onDeltas(smoothL1)(p, t));
  const positivePower = (a, by) => (a.value > 0 ? power(a, by) : dual(0));

  const eiou = (p, t) => {
    const [w, h] = hull(p, t).map(square);
    const [of_p, of_t] = [sizes(p), sizes(t)];
    const ofSizes = [w, h].map((whole, k) => ratio(square(sub(of_p[k], of_t[k])), whole));
    return total(sub(1, iou(p, t)), ratio(squaredDistance(p, t), add(w, h)), ...ofSizes);
  };
  const BOX_LOSSES = {
    l1: onDeltas(abs),
    smooth_l1: onDeltas(smoothL1),
    balanced_l1: onDeltas(balancedL1),
    focal_l1: onDeltas(focalL1),
    iou: (p, t) => sub(1, iou(p, t)),
    giou: (p, t) => {
      const [inter, union] = interUnion(p, t);
      const whole = mul(...hull(p, t));
      return add(sub(1, div(inter, add(union, EPS))), div(sub(whole, union), add(whole, EPS)));
    },
    diou: (p, t) => {
      const [inter, union] = interUnion(p, t);
      const diagonal = total(...hull(p, t).map(square), EPS);
      return add(sub(1, div(inter, add(union, EPS))), div(squaredDistance(p, t), diagonal));
    },
    ciou: (p, t) => {
      const [inter, union] = interUnion(p, t);
      const overlapping = ratio(inter, add(union, EPS));
      const diagonal = total(...hull(p, t).map(square), EPS);
      const v = mul(4 / Math.PI ** 2, square(sub(angle(...sizes(t)), angle(...sizes(p)))));
      const weight = detach(ratio(v, total(sub(1, overlapping), v, EPS)));
      return total(sub(1, overlapping), ratio(squaredDistance(p, t), diagonal), mul(weight, v));
    },
    eiou,
    focal_eiou: (p, t) => mul(detach(positivePower(iou(p, t), 0.5)), eiou(p, t)),
    focal_eiou_v1: (p, t) => focalL1(eiou(p, t)),
    focal_eiou_star: (p, t) => {
      const value = Math.max(iou(p, t).value, 1e-6);
      return mul(-Math.sqrt(value < 1 ? 1 - value : 1) * Math.log(value), eiou(p, t));
    },
    bounded_iou: (p, t) => {
      const [a, b, of_p, of_t] = [centers(p), centers(t), sizes(p), sizes(t)];
      const reached = [0, 1].flatMap((k) => {
        const shift = mul(2, abs(sub(a[k], b[k])));
        return [
          atLeast(ratio(sub(of_t[k], shift), add(of_t[k], shift)), 0),
          min(ratio(of_p[k], of_t[k]), ratio(of_t[k], of_p[k])),
        ];
      });
      return total(...reached.map((one) => mul(2, smoothL1(sub(1, one), 0.2))));
    },
    iou_balanced: weighted((p, t) => positivePower(iou(p, t), 1.4)),
    ggiou_balanced: weighted((p, t) => positivePower(ggiou(p, t), 1.4)),
  };
  const variables = (box) => box.map((x, k) => new Dual(x, [0, 1, 2, 3].map((other) => Number(other === k))));
  const measured = (f) => (pred, target) => {
    const { value, slopes } = f(variables(pred), target.map(dual));
    return { value, gradient: slopes };
  };

  // --- losses of a ranking ------------------------------------------------------------------------------------

  const step = (x, delta) => Math.min(1, Math.max(0, x / (2 * delta) + 0.5));
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  /** Positives among all: N_FP, rank+ and rank of each, as class Ranks. */
  const rankAll = (logits, targets, delta, own) => {
    const all = [...logits.keys()];
    const positives = all.filter((i) => targets[i] > 0);
    const negatives = all.filter((i) => targets[i] === 0);
    const above = (i, j) => step(logits[j] - logits[i], delta); // H(x_ij)
    const over = (values, i) => sum(positives.map((k) => values(k) * (k === i ? own : above(i, k))));
    const ranks = new Map();
    for (const i of positives) {
      const falsePositives = sum(negatives.map((j) => above(i, j)));
      const positiveRank = over(() => 1, i);
      ranks.set(i, { falsePositives, positiveRank, rank: falsePositives + positiveRank });
    }
    const mean = (f) => sum(positives.map(f)) / Math.max(positives.length, 1);
    return { positives, negatives, above, over, ranks, mean };
  };
  /** Identity Update (thesis Eq. 6.24): what a positive hands on pushes it up, and those that share it down. */
  const handOn = (gradient, count, i, error, sharing, eps) => {
    const mass = sum(sharing.map(([, part]) => part));
    if (mass <= eps) return;
    gradient[i] -= error / count;
    for (const [j, part] of sharing) gradient[j] += (error / count / mass) * part;
  };
  const sharers = (among, above, i) => among.map((j) => [j, above(i, j)]);

  const ap = (logits, targets) => {
    const { positives, negatives, above, ranks, mean } = rankAll(logits, targets, 1, 1);
    const own = (i) => ranks.get(i).falsePositives / ranks.get(i).rank;
    // The largest precision of the positives scored at or below.
    const error = (i) => Math.min(...positives.filter((k) => logits[k] <= logits[i]).map(own));
    const gradient = logits.map(() => 0);
    for (const i of positives) handOn(gradient, positives.length, i, error(i), sharers(negatives, above, i), 0);
    return { value: mean(error), gradient };
  };
  const alrp = (logits, targets) => {
    const { positives, negatives, above, over, ranks, mean } = rankAll(logits, targets, 1, 1);
    const errors = (k) => (1 - targets[k]) / 0.5; // E_loc, tau 0.5
    const gradient = logits.map(() => 0);
    for (const i of positives) {
      const { falsePositives, rank } = ranks.get(i);
      const aboveTarget = (falsePositives + over(errors, i) - errors(i)) / rank;
      handOn(gradient, positives.length, i, aboveTarget, sharers(negatives, above, i), 1e-5);
    }
    const classification = mean((i) => ranks.get(i).falsePositives / ranks.get(i).rank);
    // A positive weighs by those at or below it; of equal scores the later comes first.
    const below = (i) => positives.filter((k) => logits[k] < logits[i] || (logits[k] === logits[i] && k <= i));
    const localisation = mean((i) => errors(i) * sum(below(i).map((k) => 1 / ranks.get(k).rank)));
    return { value: classification + localisation, classification, localisation, gradient };
  };
  const rankSort = (logits, targets) => {
    const { positives, negatives, above, over, ranks, mean } = rankAll(logits, targets, 0.5, 0.5);
    const inverted = (k) => 1 - targets[k];
    const gradient = logits.map(() => 0);
    const ranking = (i) => ranks.get(i).falsePositives / ranks.get(i).rank;
    const lower = (i) => sharers(positives.filter((k) => targets[k] < targets[i]), above, i);
    const sorting = (i) => {
      const { positiveRank } = ranks.get(i);
      const all = over(inverted, i);
      const wrong = sum(lower(i).map(([k, part]) => inverted(k) * part));
      const mass = sum(lower(i).map(([, part]) => part));
      return all / positiveRank - (all - wrong) / (positiveRank - mass);
    };
    for (const i of positives) {
      handOn(gradient, positives.length, i, ranking(i), sharers(negatives, above, i), 1e-10);
      handOn(gradient, positives.length, i, sorting(i), lower(i), 1e-10);
    }
    const parts = { ranking: mean(ranking), sorting: mean(sorting) };
    return { value: parts.ranking + parts.sorting, ...parts, gradient };
  };
  /** Average precision without interpolation: mean precision at the positives, by falling score. */
  const averagePrecision = (logits, targets) => {
    const order = [...logits.keys()].filter((i) => targets[i] >= 0).sort((a, b) => logits[b] - logits[a] || a - b);
    let [hits, found] = [0, 0];
    order.forEach((i, place) => {
      if (targets[i] > 0) found += ++hits / (place + 1);
    });
    return hits ? found / hits : NaN;
  };

  return {
    boxLosses: Object.fromEntries(Object.entries(BOX_LOSSES).map(([name, f]) => [name, measured(f)])),
    iou: measured(iou),
    ggiou: measured(ggiou),
    rankingLosses: { ap, alrp, rank_sort: rankSort },
    averagePrecision,
  };
})();
if (typeof module !== "undefined") module.exports = rebalance;
