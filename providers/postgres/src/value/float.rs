//! Numbers as mantissa, exponent and sign.

use super::Misfit;
use crate::made::types::HashableF64;

/// The exponent of infinity, and of what is no number.
const TOP: i16 = 972;
const TOP_32: i16 = 105;
/// The mantissa of infinity.
const INFINITE: u64 = 1 << 52;
const INFINITE_32: u64 = 1 << 23;

pub(super) fn take_apart(number: f64) -> HashableF64 {
    let bits = number.to_bits();
    let sign = if bits >> 63 == 0 { 1 } else { -1 };
    let exponent = (bits >> 52 & 0x7ff) as i16;
    let fraction = bits & 0x000f_ffff_ffff_ffff;
    let mantissa = if exponent == 0 { fraction << 1 } else { fraction | INFINITE };
    (mantissa, exponent - 1075, sign)
}

pub(super) fn take_apart_32(number: f32) -> HashableF64 {
    let bits = number.to_bits();
    let sign = if bits >> 31 == 0 { 1 } else { -1 };
    let exponent = (bits >> 23 & 0xff) as i16;
    let fraction = u64::from(bits & 0x007f_ffff);
    let mantissa = if exponent == 0 { fraction << 1 } else { fraction | INFINITE_32 };
    (mantissa, exponent - 150, sign)
}

pub(super) fn put_together(&(mantissa, exponent, sign): &HashableF64) -> Result<f64, Misfit> {
    if exponent == TOP && mantissa > INFINITE {
        return Ok(f64::NAN);
    }
    let sign = match sign {
        1 => 1.0,
        -1 => -1.0,
        0 if mantissa == 0 => 1.0,
        other => return Err(Misfit(format!("the sign of a number is 1 or -1, not {other}"))),
    };
    // Twice the half, as the whole may be below what a number can be while the product is not.
    let exponent = i32::from(exponent).clamp(-2200, 2200);
    let (first, second) = (exponent / 2, exponent - exponent / 2);
    Ok(sign * (mantissa as f64 * 2f64.powi(first) * 2f64.powi(second)))
}

pub(super) fn put_together_32(number: &HashableF64) -> Result<f32, Misfit> {
    let &(mantissa, exponent, _) = number;
    if exponent == TOP_32 && mantissa > INFINITE_32 && mantissa < INFINITE_32 << 1 {
        return Ok(f32::NAN);
    }
    Ok(put_together(number)? as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let odd = [0.0, -0.0, 1.5, -0.1, f64::MIN_POSITIVE, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY];
        for number in odd {
            assert_eq!(put_together(&take_apart(number)).unwrap().to_bits(), number.to_bits(), "{number}");
        }
        for number in [0.0f32, -0.0, 1.5, 0.1, f32::MIN_POSITIVE, 1e-45, f32::MAX, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(put_together_32(&take_apart_32(number)).unwrap().to_bits(), number.to_bits(), "{number}");
        }
        assert!(put_together(&take_apart(f64::NAN)).unwrap().is_nan());
        assert!(put_together_32(&take_apart_32(f32::NAN)).unwrap().is_nan());
        // As others take them apart.
        assert_eq!(take_apart(1.0), (1 << 52, -52, 1));
        assert_eq!(take_apart_32(-2.0), (1 << 23, -22, -1));
        assert!(put_together(&(1, 0, 3)).is_err());
    }
}
