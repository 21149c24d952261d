//! Folding a set into an expression with ranges, in ClusterShell's form.
//!
//! Names that differ only in their numbers are a *family*: the text between the numbers is its key, and each number
//! is a dimension, unless it is too long for brackets. A family of one dimension becomes a list of ranges. A family
//! of several dimensions is covered by products of lists, which are found by joining two that differ in only one
//! dimension. For few names, each pair is compared, in ClusterShell's order, so that the text is the same as
//! ClusterShell's (`RangeSet.py`, `_fold_multivariate_merge`). For many names that takes too long, and names that
//! agree in all dimensions but one are found by hashing.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use super::limits::MAX_DIGITS;

/// The maximum number of names of a family whose pairs are compared.
const EACH_WITH_EACH: usize = 1_000;

/// The maximum number of rounds of comparisons. A few are enough in practice.
const ROUNDS: usize = 40;

/// A number as written: its length, then its value. This is the order of ClusterShell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Number {
    length: usize,
    value: u128,
}

impl Number {
    fn is_padded(self) -> bool {
        self.length > 1 && self.value < 10_u128.pow(u32::try_from(self.length - 1).unwrap_or(0))
    }

    fn text(self) -> String {
        format!("{:0width$}", self.value, width = self.length)
    }
}

/// The numbers of one dimension, sorted.
type Axis = Vec<Number>;

/// The names that are all combinations of these numbers.
type Product = Vec<Axis>;

/// Returns the names as one expression.
pub(super) fn fold<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut families: BTreeMap<String, BTreeSet<Vec<Number>>> = BTreeMap::new();
    for name in names {
        let (key, numbers) = split(name);
        families.entry(key).or_default().insert(numbers);
    }
    let mut folded = String::new();
    for (key, members) in families {
        for product in cover(members) {
            if !folded.is_empty() {
                folded.push(',');
            }
            write(&key, &product, &mut folded);
        }
    }
    folded
}

/// The text for a number in a key, as in ClusterShell, which sorts families by their keys. No name has a `%`.
const SLOT: &str = "%s";

/// Returns the key of a name's family, and its numbers. An IPv6 address in brackets is text.
fn split(name: &str) -> (String, Vec<Number>) {
    let begins = name.rfind(']').map_or(0, |at| at + 1);
    let (mut key, mut rest) = (String::new(), name);
    if let Some((address, behind)) = name.split_at_checked(begins) {
        key.push_str(address);
        rest = behind;
    }
    let mut numbers = Vec::new();
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let end = match digits {
            0 => rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len()),
            digits => digits,
        };
        let Some((piece, behind)) = rest.split_at_checked(end) else { break };
        match piece.parse() {
            Ok(value) if digits > 0 && digits <= MAX_DIGITS => {
                key.push_str(SLOT);
                numbers.push(Number { length: digits, value });
            }
            _ => key.push_str(piece),
        }
        rest = behind;
    }
    (key, numbers)
}

/// Writes one product.
fn write(key: &str, product: &Product, out: &mut String) {
    let mut texts = key.split(SLOT);
    out.push_str(texts.next().unwrap_or_default());
    for (axis, text) in product.iter().zip(texts) {
        match axis.len() {
            1 => out.push_str(&ranges(axis)),
            _ => out.extend(["[", &ranges(axis), "]"]),
        }
        out.push_str(text);
    }
}

/// Numbers that ClusterShell examines together: at equal distances. Only those at a distance of 1 are a range.
struct Run {
    first: u128,
    last: u128,
    /// The distance of the last two, once there are two.
    step: Option<u128>,
    /// The length of numbers that begin with a zero; 0 if none does.
    padding: usize,
}

impl Run {
    fn of(number: Number) -> Self {
        let padding = if number.is_padded() { number.length } else { 0 };
        Self { first: number.value, last: number.value, step: None, padding }
    }

    /// Writes the numbers up to `end` as a range, or one by one.
    fn write(&self, end: u128, out: &mut Vec<String>) {
        let padded = |number: u128| format!("{number:0width$}", width = self.padding);
        match self.step {
            None => out.push(padded(self.first)),
            Some(1) if self.first < end => {
                out.push(format!("{}-{}", padded(self.first), padded(end)));
            }
            Some(step) => {
                let numbers = std::iter::successors(Some(self.first), |number| Some(number + step));
                out.extend(numbers.take_while(|number| *number <= end).map(padded));
            }
        }
    }
}

/// Returns sorted numbers as ranges, cut where ClusterShell cuts them (`RangeSet.py`, `_slices_padding`, without
/// steps): `04,10-99,100-535`. Earlier numbers decide whether later ones may have zeros.
fn ranges(axis: &Axis) -> String {
    let mut numbers = axis.iter().copied();
    let Some(mut run) = numbers.next().map(Run::of) else { return String::new() };
    let mut texts = Vec::new();
    for number in numbers {
        let differs = match run.padding {
            0 => number.is_padded(),
            padding => number.length != padding,
        };
        let distance = number.value.saturating_sub(run.last);
        let breaks = !differs && run.step.is_some_and(|step| step != distance);
        match run.step {
            _ if !differs && !breaks => run.step = Some(distance),
            Some(step) if breaks && step != 1 => {
                // The last number begins a new range, and the padding is determined again.
                run.write(run.last - step, &mut texts);
                run = Run { first: run.last, step: Some(distance), ..run };
            }
            _ => {
                run.write(run.last, &mut texts);
                let step = breaks.then_some(distance);
                run = Run { step, ..Run::of(number) };
            }
        }
        run.last = number.value;
    }
    run.write(run.last, &mut texts);
    texts.join(",")
}

/// Returns products that together have exactly the members.
fn cover(members: BTreeSet<Vec<Number>>) -> Vec<Product> {
    if let Some(product) = whole(&members) {
        return vec![product];
    }
    let single = |numbers: Vec<Number>| numbers.into_iter().map(|number| vec![number]).collect();
    let few = members.len() <= EACH_WITH_EACH;
    let products: Vec<Product> = members.into_iter().map(single).collect();
    if few { join_each_with_each(products) } else { join_by_hash(products) }
}

/// Returns the members as one product, if that is possible.
fn whole(members: &BTreeSet<Vec<Number>>) -> Option<Product> {
    let dimensions = members.first()?.len();
    let mut axes = vec![BTreeSet::new(); dimensions];
    for member in members {
        axes.iter_mut().zip(member).for_each(|(axis, number)| axis.extend([*number]));
    }
    let size = axes.iter().map(BTreeSet::len).fold(1, usize::saturating_mul);
    let product = axes.into_iter().map(|axis| axis.into_iter().collect()).collect();
    (size == members.len()).then_some(product)
}

/// Joins products as ClusterShell does, and sorts them in its order.
fn join_each_with_each(mut products: Vec<Product>) -> Vec<Product> {
    for _ in 0..ROUNDS {
        products.sort_by_cached_key(rank);
        let mut changed = false;
        let mut at = 0;
        while at + 1 < products.len() {
            let mut rest = products.split_off(at + 1);
            if let Some(product) = products.last_mut() {
                rest.retain(|other| match joined(product, other) {
                    Some(both) => {
                        *product = both;
                        changed = true;
                        false
                    }
                    None => true,
                });
            }
            products.append(&mut rest);
            at += 1;
        }
        if !changed {
            return products;
        }
    }
    products.sort_by_cached_key(rank);
    products
}

/// The sort key of products: their size, then the length, the first and the last number of each dimension.
type Rank = (Reverse<usize>, Vec<(Reverse<usize>, String, String)>);

/// Compares in ClusterShell's order: most names first, then the longest dimensions, then by first and last number
/// as text.
fn rank(product: &Product) -> Rank {
    let end = |number: Option<&Number>| number.map(|number| number.text()).unwrap_or_default();
    let size = product.iter().map(Vec::len).fold(1, usize::saturating_mul);
    let axes =
        product.iter().map(|axis| (Reverse(axis.len()), end(axis.first()), end(axis.last())));
    (Reverse(size), axes.collect())
}

/// Returns two products as one, if they differ in only one dimension.
fn joined(one: &Product, other: &Product) -> Option<Product> {
    let mut differing = one.iter().zip(other).enumerate().filter(|(_, (a, b))| a != b);
    let (at, (a, b)) = differing.next()?;
    if differing.next().is_some() {
        return None;
    }
    let mut axis: Axis = a.iter().chain(b).copied().collect();
    axis.sort_unstable();
    axis.dedup();
    let mut product = one.clone();
    *product.get_mut(at)? = axis;
    Some(product)
}

/// Joins products that agree in all dimensions but one, the last dimension first, until nothing changes.
fn join_by_hash(mut products: Vec<Product>) -> Vec<Product> {
    let dimensions = products.first().map_or(0, Vec::len);
    loop {
        let before = products.len();
        for dimension in (0..dimensions).rev() {
            let mut groups: HashMap<Product, Axis> = HashMap::with_capacity(products.len());
            for mut product in products.drain(..) {
                let Some(axis) = product.get_mut(dimension).map(std::mem::take) else { continue };
                groups.entry(product).or_default().extend(axis);
            }
            products.extend(groups.into_iter().map(|(mut product, mut axis)| {
                axis.sort_unstable();
                if let Some(place) = product.get_mut(dimension) {
                    *place = axis;
                }
                product
            }));
        }
        if products.len() == before {
            break;
        }
    }
    products.sort_by_cached_key(rank);
    products
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(names: &str) -> String {
        fold(names.split(' '))
    }

    #[test]
    fn zeros_belong_to_each_number() {
        assert_eq!(folded("listserv01 listserv3"), "listserv[3,01]");
        assert_eq!(folded("a08 a09 a10 a11 a9 a10"), "a[9,08-11]");
        assert_eq!(folded("a9 a10 a11"), "a[9-11]");
        assert_eq!(folded("a0 a00 a000"), "a[0,00,000]");
        assert_eq!(folded("a04 a10 a11 a98 a99 a100 a101"), "a[04,10-11,98-101]");
        assert_eq!(folded("a04 a98 a99 a100 a101"), "a[04,98-99,100-101]");
        assert_eq!(folded("a1 a2 a4 a6 a8 a9"), "a[1-2,4,6,8-9]");
        assert_eq!(folded("web1"), "web1");
        assert_eq!(folded("web"), "web");
        assert_eq!(folded("b a2 a1 a"), "a,a[1-2],b");
    }

    #[test]
    fn several_dimensions_are_folded_as_clustershell_does() {
        assert_eq!(folded("a1b1 a1b2 a2b1 a2b2"), "a[1-2]b[1-2]");
        assert_eq!(folded("a1b1 a1b2 a2b1"), "a1b[1-2],a2b1");
        assert_eq!(folded("a1b1 a2b2"), "a1b1,a2b2");
    }

    #[test]
    fn addresses_and_ports_are_folded_into_what_can_be_typed_again() {
        assert_eq!(folded("[::1]:7001 [::1]:7002"), "[::1]:[7001-7002]");
        assert_eq!(folded("127.0.0.1:70 127.0.0.1:71"), "127.0.0.1:[70-71]");
        assert_eq!(folded("[::1] [::2]"), "[::1],[::2]");
    }

    #[test]
    fn a_number_too_long_for_brackets_is_text() {
        let (long, longer) = ("123456789012345678", "1234567890123456789");
        assert_eq!(folded(&format!("a1 a{long}")), format!("a[1,{long}]"));
        assert_eq!(folded(&format!("a1 a2 a{longer}")), format!("a[1-2],a{longer}"));
    }

    #[test]
    fn both_ways_of_joining_have_each_name_once() {
        let members: BTreeSet<Vec<Number>> = (0..600_u128)
            .filter(|n| n % 7 != 3 && n % 11 != 5)
            .map(|n| [n / 60, n / 6 % 10, n % 6].map(|value| Number { length: 2, value }).into())
            .collect();
        let single = |numbers: &Vec<Number>| numbers.iter().map(|number| vec![*number]).collect();
        let singles = || -> Vec<Product> { members.iter().map(single).collect() };
        for products in [join_by_hash(singles()), join_each_with_each(singles())] {
            let mut seen = BTreeSet::new();
            for product in &products {
                let all = product.iter().fold(vec![Vec::new()], |all: Vec<Vec<Number>>, axis| {
                    let with = |one: &Vec<Number>| -> Vec<Vec<Number>> {
                        axis.iter().map(|number| [&one[..], &[*number]].concat()).collect()
                    };
                    all.iter().flat_map(with).collect()
                });
                assert!(all.into_iter().all(|one| seen.insert(one)));
            }
            assert_eq!(seen, members);
            assert!(products.len() < members.len() / 3, "{}", products.len());
        }
    }
}
