/** Squarified treemaps (Bruls, Huizing, van Wijk 2000): rectangles of given areas, as square as they can be. */

/**
 * Where each of `weights` lies in a box {x, y, width, height}. The weights are positive and descend. Returns boxes in
 * the same order, whose areas are as the weights are.
 */
export function squarify(weights, box) {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const scale = total ? box.width * box.height / total : 0;
  const areas = weights.map(weight => weight * scale);
  const boxes = [];
  let {x, y, width, height} = box;
  for (let start = 0; start < areas.length;) {
    const side = Math.min(width, height);
    let end = start + 1, sum = areas[start];
    while (end < areas.length && worst(areas, start, end + 1, sum + areas[end], side) <= worst(areas, start, end, sum, side)) sum += areas[end++];
    const depth = side ? sum / side : 0;
    let along = 0;
    for (; start < end; start++) {
      const length = depth ? areas[start] / depth : 0;
      boxes.push(width >= height ? {x, y: y + along, width: depth, height: length} : {x: x + along, y, width: length, height: depth});
      along += length;
    }
    if (width >= height) [x, width] = [x + depth, Math.max(0, width - depth)];
    else [y, height] = [y + depth, Math.max(0, height - depth)];
  }
  return boxes;
}

/** The longest ratio of sides in a row of areas from `start` to `end` along a side; they descend. */
function worst(areas, start, end, sum, side) {
  const square = side * side, whole = sum * sum;
  return Math.max(square * areas[start] / whole, whole / (square * areas[end - 1]));
}
