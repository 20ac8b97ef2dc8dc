// The constants of maths.h, as tools/constants.py makes and prints them: change them there.
// clang-format off
#pragma once

namespace softplus {
namespace {

constexpr double LOG2E = 0x1.71547652b82fep+0;
// ln 2 in two parts
constexpr double LN2 = 0x1.62e42fefa39efp-1, LN2_REST = 0x1.abc9e3b39803fp-56;
// The same with so few digits in the first part that its multiples are exact
template <class T> constexpr T LN2_SHORT = 0x1.62e42fefa38p-1;
template <class T> constexpr T LN2_SHORT_REST = 0x1.ef35793c7673p-45;
template <> constexpr float LN2_SHORT<float> = 0x1.62e4p-1f;
template <> constexpr float LN2_SHORT_REST<float> = 0x1.7f7d1cp-20f;
// ln 2 as a float, and how much larger that is
constexpr float LN2_FLOAT = 0x1.62e43p-1f, LN2_FLOAT_EXCESS = 0x1.05c61p-29f;

// `error`: the largest that a polynomial makes, unrounded, relative to the finished result.

// (e^r - 1 - r) / r^2 for |r| <= ln2/2, and (e^r - 1) / r for the half types
constexpr double EXPM1_DOUBLE[] =  // error 2^-61.5
    {0x1p-1, 0x1.5555555555559p-3, 0x1.555555555554cp-5, 0x1.111111110f653p-7,
     0x1.6c16c16c1b326p-10, 0x1.a01a01b004c92p-13, 0x1.a01a018b4563p-16, 0x1.71ddf80af17ebp-19,
     0x1.27e5197b7c045p-22, 0x1.af5f3608118d2p-26, 0x1.1f104a868b179p-29};
constexpr float EXPM1_SINGLE[] =  // error 2^-26.1
    {0x1.fffffep-2f, 0x1.5554b4p-3f, 0x1.5556f2p-5f, 0x1.12254ap-7f, 0x1.6b9c66p-10f};
constexpr double EXPM1_SINGLE_IN_DOUBLE[] =  // error 2^-31.9
    {0x1.0000002818bc5p-1, 0x1.555554fffe01bp-3, 0x1.5554ad94c29d1p-5, 0x1.111172662cee6p-7,
     0x1.6d74ae554bce2p-10, 0x1.a051782e256bap-13};
constexpr float EXPM1_HALF[] =  // error 2^-18.4
    {0x1.fffba6p-1f, 0x1.0003f8p-1f, 0x1.57cf3p-3f, 0x1.5412dcp-5f};

// (2 atanh(z) / z - 2) / w, w = z^2, for z up to 1/3
constexpr double ATANH[] =  // error 2^-59.3
    {0x1.5555555555534p-1, 0x1.99999999a091cp-2, 0x1.2492492082af7p-2, 0x1.c71c741fca151p-3,
     0x1.745cb3aa22c4bp-3, 0x1.3b1de0c3b1d62p-3, 0x1.10679078c5021p-3, 0x1.efdac68562f3p-4,
     0x1.55a8af612abbfp-4, 0x1.5c7efd87a096fp-3};

// ln(1 + t) / t for t up to 1, to the digits of float32
constexpr double LOG1P_SINGLE[] =  // error 2^-32.8
    {0x1.fffffffed320dp-1, -0x1.fffffd5b5bb78p-2, 0x1.5554d5b9cc8eep-2, -0x1.ffece20bb1efbp-3,
     0x1.98d905128d93bp-3, -0x1.50c386565ea51p-3, 0x1.126d927df14b2p-3, -0x1.9cacca7c1082p-4,
     0x1.03c7e19c38997p-4, -0x1.e747e11e2c244p-6, 0x1.23ab5060f9f57p-7, -0x1.47324e6456d5bp-10};

// ln(cosh(u/2)) / w, w = u^2, for |u| up to 1.5, to the digits of float32
constexpr double LOG_COSH_SINGLE[] =  // error 2^-29.8
    {0x1.fffffee1ad0d6p-4, -0x1.5554813d21a72p-8, 0x1.6be87caba9f45p-12, -0x1.b5ac15cc5cb1ep-16,
     0x1.03449a4651394p-19, -0x1.aa246530ac3bfp-24};
// The same as floats, for |u| up to 1.25
constexpr float LOG_COSH[] =  // error 2^-28.0
    {0x1.fffffcp-4f, -0x1.555248p-8f, 0x1.6b6b28p-12f, -0x1.aa547ep-16f, 0x1.93479ep-20f};

// (ln 2 - entropy(u)) / w, w = u^2, for |u| up to 1.5
constexpr double ENTROPY_GAP[] =  // error 2^-53.0
    {0x1.fffffffffffffp-4, -0x1.ffffffffffcd9p-7, 0x1.c71c71c6f9453p-10, -0x1.82d82d78a3f4fp-13,
     0x1.427a8c7c30faap-16, -0x1.0a3a360d4a6cep-19, 0x1.b52ddd2a59754p-23,
     -0x1.6599a35e33835p-26, 0x1.22cf01e47b8d8p-29, -0x1.ceaeb3aa4956bp-33,
     0x1.5353cebca6f54p-36, -0x1.8aca878f9b61bp-40, 0x1.00c2a825aa8c5p-44};

// The forward of float32: softplus on segments of width 1/2 in |x|, by polynomials in r = |x| - centre
// that are looked up. Largest error of a row, ULP: 0.644 for x > 0, 0.849 for x < 0.
// Rows: the centre; the coefficients of r^5, r^4, r^3, r^2, which serve both signs of x; those of
// r and 1 for x > 0; and for x < 0.
alignas(64) constexpr float SEGMENTS[9][16] = {
    {0x0p+0f, 0x1.986aap-2f, 0x1.0020ep+0f, 0x1.a19848p+0f, 0x1.fd7f2p+0f, 0x1.4d442cp+1f,
     0x1.7fd5ep+1f, 0x1.b9734cp+1f, 0x1.071c54p+2f, 0x1.2059b2p+2f, 0x1.3fdbfap+2f,
     0x1.6210cep+2f, 0x1.809e62p+2f, 0x1.a0418ep+2f, 0x1.c1bf88p+2f, 0x1.e3e714p+2f},
    {0x0p+0f, 0x1.c49afap-11f, 0x1.0ac21cp-10f, 0x1.416546p-11f, 0x1.6b80b6p-13f,
     -0x1.4f3bdcp-14f, -0x1.461b3p-13f, -0x1.33cc86p-13f, -0x1.d1cddcp-14f, -0x1.425cdap-14f,
     -0x1.a5841p-15f, -0x1.0986ap-15f, -0x1.4b8bd8p-16f, -0x1.9a348ap-17f, -0x1.f38324p-18f,
     -0x1.2ff91ap-18f},
    {-0x1.533c74p-8f, -0x1.22b264p-8f, -0x1.82a736p-10f, 0x1.11102ep-10f, 0x1.a37a3p-10f,
     0x1.afafe2p-10f, 0x1.67ce76p-10f, 0x1.0bc286p-10f, 0x1.3929eap-11f, 0x1.ba8582p-12f,
     0x1.181abcp-12f, 0x1.4fb71p-13f, 0x1.a5cbb6p-14f, 0x1.0346aap-14f, 0x1.34bb8p-15f,
     0x1.6ac366p-16f},
    {0x0p+0f, -0x1.0266dep-7f, -0x1.f0479cp-7f, -0x1.f6dd9p-7f, -0x1.b6c1d4p-7f,
     -0x1.2e1d52p-7f, -0x1.bf1b74p-8f, -0x1.320312p-8f, -0x1.4f62dap-9f, -0x1.cde52ep-10f,
     -0x1.1f2fa6p-10f, -0x1.54539ep-11f, -0x1.a8d5b6p-12f, -0x1.0421a2p-12f, -0x1.3506b6p-13f,
     -0x1.6af81ep-14f},
    {0x1.ffff3ep-4f, 0x1.ec2ad4p-4f, 0x1.92917ap-4f, 0x1.18527ep-4f, 0x1.b14402p-5f,
     0x1.06c8ep-5f, 0x1.7284aap-6f, 0x1.e92462p-7f, 0x1.03f042p-7f, 0x1.62297cp-8f,
     0x1.b4a1b8p-9f, 0x1.014886p-9f, 0x1.4031aep-10f, 0x1.875e86p-11f, 0x1.d06156p-12f,
     0x1.10898ep-12f},
    {0x1p-1f, 0x1.3262cap-1f, 0x1.765a3cp-1f, 0x1.ac348p-1f, 0x1.c270c2p-1f, 0x1.dcb892p-1f,
     0x1.e7b02ep-1f, 0x1.f03a7ep-1f, 0x1.f7be6ap-1f, 0x1.fa67b2p-1f, 0x1.fc90d6p-1f,
     0x1.fdfb66p-1f, 0x1.febf04p-1f, 0x1.ff3c06p-1f, 0x1.ff8bcep-1f, 0x1.ffbbd4p-1f},
    {0x1.62e43p-1f, 0x1.d31c1p-1f, 0x1.5049f4p+0f, 0x1.cf5908p+0f, 0x1.0f251ap+1f,
     0x1.566796p+1f, 0x1.860ffcp+1f, 0x1.bd748cp+1f, 0x1.0826aep+2f, 0x1.210db8p+2f,
     0x1.404a3ep+2f, 0x1.625182p+2f, 0x1.80c68ep+2f, 0x1.a05a12p+2f, 0x1.c1ce1p+2f,
     0x1.e3ef9ap+2f},
    {-0x1p-1f, -0x1.9b3a6cp-2f, -0x1.134b88p-2f, -0x1.4f2ep-3f, -0x1.ec79f2p-4f,
     -0x1.1a3b6ep-4f, -0x1.84fd22p-5f, -0x1.f8b03ep-6f, -0x1.0832cp-6f, -0x1.661378p-7f,
     -0x1.b794e8p-8f, -0x1.024d5ap-8f, -0x1.40fb3ep-9f, -0x1.87f4f6p-10f, -0x1.d0cb46p-11f,
     -0x1.10adf8p-11f},
    {0x1.62e43p-1f, 0x1.06e6cp-1f, 0x1.40a45p-2f, 0x1.6e06p-3f, 0x1.0658ap-3f, 0x1.246d4p-4f,
     0x1.8e87p-5f, 0x1.005p-5f, 0x1.0a5ap-6f, 0x1.680cp-7f, 0x1.b91002p-8f, 0x1.02d002p-8f,
     0x1.416006p-9f, 0x1.88400cp-10f, 0x1.d1000cp-11f, 0x1.10c02p-11f}};

// (e^r - 1) / r for |r| <= ln2/2, from where on the segments end, and
// (ln(1 + t) / t - 1) / t for the t = e^-|x| there
constexpr float EXPM1_FAR[] =  // error 2^-28.3
    {0x1p+0f, 0x1.fffffcp-2f, 0x1.555492p-3f, 0x1.5558b2p-5f, 0x1.12398ep-7f, 0x1.6a4b36p-10f};
constexpr float TAIL[] =  // error 2^-39.4
    {-0x1.fffffep-2f, 0x1.552558p-2f};

// Softplus of the half types goes from v to the result in one step, without e^v and ln(1 + t) on
// the way: with v = n c + r, c = float(ln 2) and |r| <= ln2/2, 2^-n softplus(v) is a polynomial in r
// whose coefficients are looked up by n, from 0 on: low part, constant, coefficients of r, … r^4, so
// that all 65,536 results of either type round correctly. The last of 16 entries serves e^v and
// ln(1 + e^v) alike.
alignas(64) constexpr float HALF_TABLE[6][16] = {
    {-0x1.e46096p-28f, -0x1.ae6074p-29f, 0x1.50c30ap-26f, 0x1.2c6432p-27f, 0x1.f6a31ep-28f,
     -0x1.9bbb3ep-26f, 0x1.1378aap-27f, -0x1.85cab8p-27f, -0x1.5e770cp-26f, 0x1.90381cp-26f,
     -0x1.c753a4p-28f, 0x1.77d67cp-27f, 0x1.dd73cep-26f, 0x1.04108ap-26f, 0x1.112522p-26f,
     0x1.edf722p-27f},
    {0x1.ffff02p-1f, 0x1.fffaa8p-1f, 0x1.fff6c2p-1f, 0x1.ffeed2p-1f, 0x1.ffde4ep-1f,
     0x1.ffc066p-1f, 0x1.ff7bf4p-1f, 0x1.ff0268p-1f, 0x1.fe01fcp-1f, 0x1.fc0bacp-1f,
     0x1.f82848p-1f, 0x1.f0a212p-1f, 0x1.e2711ep-1f, 0x1.c8ff8cp-1f, 0x1.9f323ep-1f,
     0x1.62e42ep-1f},
    {0x1.000a2ap+0f, 0x1.ffee6p-1f, 0x1.ffcad4p-1f, 0x1.ffc768p-1f, 0x1.ff9a14p-1f,
     0x1.ff7b28p-1f, 0x1.fedb66p-1f, 0x1.fe11c2p-1f, 0x1.fc154ep-1f, 0x1.f815eep-1f,
     0x1.f0837p-1f, 0x1.e1ec42p-1f, 0x1.c7172ap-1f, 0x1.999c12p-1f, 0x1.5555ep-1f,
     0x1.fffffp-2f},
    {0x1.ffc432p-2f, 0x1.ff980ep-2f, 0x1.fff0d4p-2f, 0x1.002fbcp-1f, 0x1.000d82p-1f,
     0x1.febc78p-2f, 0x1.ff3546p-2f, 0x1.fc35e2p-2f, 0x1.fa027ap-2f, 0x1.efe77ep-2f,
     0x1.e23d8ep-2f, 0x1.c629f8p-2f, 0x1.94843cp-2f, 0x1.478ebcp-2f, 0x1.c72062p-3f,
     0x1.001744p-3f},
    {0x1.51c96p-3f, 0x1.59a398p-3f, 0x1.623f48p-3f, 0x1.606b76p-3f, 0x1.5ec9f8p-3f,
     0x1.57a252p-3f, 0x1.5a7908p-3f, 0x1.4f04bcp-3f, 0x1.458b8cp-3f, 0x1.440c58p-3f,
     0x1.2c7e2ep-3f, 0x1.0865e2p-3f, 0x1.a59f3ap-4f, 0x1.0424d8p-4f, 0x1.91478cp-6f,
     0x1.be5022p-16f},
    {0x1.65b97p-5f, 0x1.83643cp-5f, 0x1.890f02p-5f, 0x1.27974p-5f, 0x1.49f8fp-5f,
     0x1.530c4cp-5f, 0x1.0b77ccp-5f, 0x1.3af42ap-5f, 0x1.d05db2p-7f, 0x1.4c6d2ap-5f,
     0x1.7a64f4p-6f, 0x1.240972p-6f, 0x1.a1c5acp-7f, 0x1.48c26p-9f, -0x1.9aa844p-8f,
     -0x1.7a5a8p-8f}};

// From where on an input is reflected, softplus(x) = x + softplus(-x)
constexpr float HALF_REFLECT_FROM = 0.34f;

}  // namespace
}  // namespace softplus
