//! Logarithms, powers and distributions in whole numbers.
//!
//! The library functions for `ln` and `exp` differ between platforms in their last digits, and one digit can change who
//! is served first. These are exact integer procedures with 32 binary places (`Q32`): the same everywhere, and good to
//! about nine decimal digits, which is far more than a draw needs.

use crate::rng::Rng;

/// 1 with 32 binary places.
pub(super) const ONE: i64 = 1 << 32;

/// ln 2.
const LN_2: i128 = 2_977_044_472;
/// log2 e.
const LOG2_E: i128 = 6_196_328_019;
/// `ROOTS[i]` is 2^(1/2^(i+1)) with 62 binary places.
const ROOTS: [u128; 32] = roots();

const fn roots() -> [u128; 32] {
    let mut table = [0; 32];
    let mut last: u128 = 1 << 63;
    let mut at = 0;
    while at < 32 {
        last = (last << 62_u128).isqrt();
        table[at] = last;
        at += 1;
    }
    table
}

/// log2 of a positive number; of 0 that of the smallest one.
fn log2(value: u64) -> i64 {
    let value = value.max(1);
    let shift = value.leading_zeros();
    let mut mantissa = u128::from(value << shift);
    let mut places = 0;
    for _ in 0..32 {
        mantissa = (mantissa * mantissa) >> 63;
        places <<= 1;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            places |= 1;
        }
    }
    ((31 - i64::from(shift)) << 32) + places
}

/// 2 to a power; 0 and the greatest number where the result does not fit.
fn exp2(power: i64) -> u64 {
    let whole = power >> 32;
    let mut result: u128 = 1 << 62;
    for (bit, root) in (0..32).rev().zip(ROOTS) {
        if power >> bit & 1 == 1 {
            result = (result * root) >> 62;
        }
    }
    match whole {
        ..=-33 => 0,
        -32..=30 => u64::try_from(result >> (30 - whole)).unwrap_or(u64::MAX),
        31 => u64::try_from(result << 1).unwrap_or(u64::MAX),
        _ => u64::MAX,
    }
}

/// Natural logarithm.
pub(super) fn ln(value: u64) -> i64 {
    narrow((i128::from(log2(value)) * LN_2) >> 32)
}

/// e to a power.
pub(super) fn exp(power: i64) -> u64 {
    exp2(narrow((i128::from(power) * LOG2_E) >> 32))
}

/// `base` to `-exponent`, for weights of a Zipf distribution.
pub(super) fn inverse_power(base: u32, exponent: i64) -> u64 {
    let log = i128::from(log2(u64::from(base) << 32));
    exp2(narrow(-((log * i128::from(exponent)) >> 32)))
}

/// `base` to `exponent`.
pub(super) fn power(base: u64, exponent: i64) -> u64 {
    exp2(narrow((i128::from(log2(base)) * i128::from(exponent)) >> 32))
}

/// Rounds `value * factor`.
pub(super) fn scale(value: i64, factor: u64) -> i64 {
    narrow((i128::from(value) * i128::from(factor) + (1 << 31)) >> 32)
}

/// `a * b`.
pub(super) fn product(a: u64, b: u64) -> u64 {
    u64::try_from((u128::from(a) * u128::from(b)) >> 32).unwrap_or(u64::MAX)
}

fn narrow(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// A number from 0 up to, but not including, 1.
pub(super) fn uniform(rng: &mut Rng) -> i64 {
    i64::from(word(rng) as u32)
}

fn word(rng: &mut Rng) -> u64 {
    rng.up_to(u64::MAX) >> 32
}

/// A standard normal number: the sum of twelve uniform ones less six, which has variance 1 and ends at six sigma.
pub(super) fn normal(rng: &mut Rng) -> i64 {
    (0..12).map(|_| uniform(rng)).sum::<i64>() - 6 * ONE
}

/// An exponential number with mean 1.
pub(super) fn exponential(rng: &mut Rng) -> i64 {
    -ln(word(rng) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(value: i64) -> f64 {
        value as f64 / ONE as f64
    }

    #[test]
    fn logarithms_and_powers_agree_with_the_real_ones() {
        for number in [0.001, 0.25, 0.5, 0.999, 1.0, 1.5, 2.0, 3.0, 1000.0, 1e9] {
            let fixed = (number * ONE as f64) as u64;
            assert!((real(ln(fixed)) - number.ln()).abs() < 1e-6, "ln {number}");
        }
        for number in [-20.0, -3.3, -1.0, -0.1, 0.0, 0.1, 1.0, 2.5, 15.0] {
            let found = exp((number * ONE as f64) as i64) as f64 / ONE as f64;
            assert!(
                (found - f64::exp(number)).abs() <= 1e-8 * f64::exp(number) + 1e-9,
                "exp {number}: {found}"
            );
        }
        assert_eq!(exp(0), 1 << 32);
        assert_eq!((exp(i64::MIN), exp(i64::MAX)), (0, u64::MAX));
        let third = inverse_power(3, ONE) as f64 / ONE as f64;
        assert!((third - 1.0 / 3.0).abs() < 1e-8);
    }

    #[test]
    fn draws_have_the_mean_and_the_spread_they_should() {
        let mut rng = Rng::new(7);
        let mut sums = (0.0, 0.0, 0.0);
        for _ in 0..20_000 {
            let normal = real(normal(&mut rng));
            sums = (sums.0 + normal, sums.1 + normal * normal, sums.2 + real(exponential(&mut rng)));
        }
        assert!((sums.0 / 20_000.0).abs() < 0.03, "mean {}", sums.0);
        assert!((sums.1 / 20_000.0 - 1.0).abs() < 0.05, "variance {}", sums.1);
        assert!((sums.2 / 20_000.0 - 1.0).abs() < 0.05, "exponential mean {}", sums.2);
    }

    #[test]
    fn the_first_draws_of_a_seed_never_change() {
        let mut rng = Rng::new(1);
        let draws: Vec<i64> = [normal, normal, exponential, uniform].map(|draw| draw(&mut rng)).to_vec();
        assert_eq!(draws, [6_117_528_461, -2_658_173_561, 5_362_618_768, 205_734_013]);
    }
}
