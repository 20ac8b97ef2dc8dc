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

// In float32 and below, Softplus goes from v to the result in one step, without e^v and ln(1 + t)
// on the way: with v = n c + r, c = float(ln 2) and |r| <= ln2/2, 2^-n softplus(v) is a polynomial
// in r whose coefficients are looked up by n - 1. The last entry is e^r, which a short series in
// t = e^v turns into the rest; there c - ln 2 counts too.
// Rows: the constant's low part, the constant, the coefficients of r, … r^6.
template <int ENTRIES> constexpr float TABLE[8][ENTRIES] = {};
template <>  // error 2^-28.3
alignas(64) constexpr float TABLE<16>[8][16] = {
    {-0x1.3eeebcp-27f, 0x0p+0f, -0x1.54013ap-26f, -0x1.9a59cep-29f, -0x1.2edfc4p-30f,
     0x1.4e08d4p-31f, 0x1.eec8p-31f, -0x1.5d3faep-27f, 0x1.fb18cp-28f, 0x1.5e312ep-26f,
     0x1.305fcap-26f, -0x1.e40eccp-28f, 0x1.6e1c58p-26f, 0x1.7df0e8p-27f, 0x1.822288p-26f,
     -0x1.05c61p-29f},
    {0x1.193ea8p-1f, 0x1p+0f, 0x1.fff8p-1f, 0x1.fffp-1f, 0x1.ffe002p-1f, 0x1.ffc00ap-1f,
     0x1.ff802ap-1f, 0x1.ff00aap-1f, 0x1.fe02a6p-1f, 0x1.fc0a8ap-1f, 0x1.f829bp-1f,
     0x1.f0a30cp-1f, 0x1.e27076p-1f, 0x1.c8ff7cp-1f, 0x1.9f323ep-1f, 0x1.62e43p-1f},
    {0x1.555556p-2f, 0x1p+0f, 0x1.fffp-1f, 0x1.ffe002p-1f, 0x1.ffc008p-1f, 0x1.ff802p-1f,
     0x1.ff008p-1f, 0x1.fe01fep-1f, 0x1.fc07fp-1f, 0x1.f81f82p-1f, 0x1.f07c1ep-1f,
     0x1.e1e1ep-1f, 0x1.c71c7p-1f, 0x1.99999ap-1f, 0x1.555556p-1f, 0x1p-1f},
    {0x1.c71c86p-5f, 0x1.fffffcp-2f, 0x1.ffdffcp-2f, 0x1.ffc002p-2f, 0x1.ff8014p-2f,
     0x1.ff005cp-2f, 0x1.fe017ap-2f, 0x1.fc05f4p-2f, 0x1.f817bep-2f, 0x1.f05e0ap-2f,
     0x1.e17098p-2f, 0x1.c5894ap-2f, 0x1.948b0ep-2f, 0x1.47ae16p-2f, 0x1.c71c6cp-3f,
     0x1.fffffep-4f},
    {-0x1.94af9ep-8f, 0x1.555492p-3f, 0x1.5529c6p-3f, 0x1.54fef6p-3f, 0x1.54a9cep-3f,
     0x1.53ffbep-3f, 0x1.52aca2p-3f, 0x1.500b1ep-3f, 0x1.4ad976p-3f, 0x1.40ba76p-3f,
     0x1.2d82acp-3f, 0x1.0acac8p-3f, 0x1.a389b4p-4f, 0x1.0623fep-4f, 0x1.9483bep-6f,
     0x1.3b6326p-29f},
    {-0x1.9a3e6ap-10f, 0x1.5558b2p-5f, 0x1.5503a6p-5f, 0x1.54ad5ap-5f, 0x1.540326p-5f,
     0x1.52af84p-5f, 0x1.500c2cp-5f, 0x1.4ad116p-5f, 0x1.408f54p-5f, 0x1.2cd57ep-5f,
     0x1.0861c2p-5f, 0x1.93df36p-6f, 0x1.b78a68p-7f, 0x1.17568ap-10f, -0x1.9478ap-8f,
     -0x1.554e7ep-8f},
    {0x1.d3c866p-12f, 0x1.12398ep-7f, 0x1.11bd18p-7f, 0x1.114498p-7f, 0x1.102dap-7f,
     0x1.0e046p-7f, 0x1.09c438p-7f, 0x1.014c0ep-7f, 0x1.e1da94p-8f, 0x1.a46fb6p-8f,
     0x1.370ebap-8f, 0x1.18c2e2p-9f, -0x1.036844p-10f, -0x1.80537ap-9f, -0x1.0986cp-9f,
     -0x1.c2ba1cp-26f},
    {-0x1.fc56fap-17f, 0x1.6a4b36p-10f, 0x1.68cbep-10f, 0x1.681d58p-10f, 0x1.653b74p-10f,
     0x1.5f8728p-10f, 0x1.54037ap-10f, 0x1.3e51ccp-10f, 0x1.14dfa2p-10f, 0x1.948a1ap-11f,
     0x1.23044p-12f, -0x1.8d7f3ep-12f, -0x1.cc5142p-11f, -0x1.4c264ap-11f, 0x1.43d882p-13f,
     0x1.65ca76p-12f}};
template <>  // error 2^-28.3
alignas(64) constexpr float TABLE<8>[8][8] = {
    {-0x1.3eeebcp-27f, 0x0p+0f, 0x1.305fcap-26f, -0x1.e40eccp-28f, 0x1.6e1c58p-26f,
     0x1.7df0e8p-27f, 0x1.822288p-26f, -0x1.05c61p-29f},
    {0x1.193ea8p-1f, 0x1p+0f, 0x1.f829bp-1f, 0x1.f0a30cp-1f, 0x1.e27076p-1f, 0x1.c8ff7cp-1f,
     0x1.9f323ep-1f, 0x1.62e43p-1f},
    {0x1.555556p-2f, 0x1p+0f, 0x1.f07c1ep-1f, 0x1.e1e1ep-1f, 0x1.c71c7p-1f, 0x1.99999ap-1f,
     0x1.555556p-1f, 0x1p-1f},
    {0x1.c71c86p-5f, 0x1.fffffcp-2f, 0x1.e17098p-2f, 0x1.c5894ap-2f, 0x1.948b0ep-2f,
     0x1.47ae16p-2f, 0x1.c71c6cp-3f, 0x1.fffffep-4f},
    {-0x1.94af9ep-8f, 0x1.555492p-3f, 0x1.2d82acp-3f, 0x1.0acac8p-3f, 0x1.a389b4p-4f,
     0x1.0623fep-4f, 0x1.9483bep-6f, 0x1.3b6326p-29f},
    {-0x1.9a3e6ap-10f, 0x1.5558b2p-5f, 0x1.0861c2p-5f, 0x1.93df36p-6f, 0x1.b78a68p-7f,
     0x1.17568ap-10f, -0x1.9478ap-8f, -0x1.554e7ep-8f},
    {0x1.d3c866p-12f, 0x1.12398ep-7f, 0x1.370ebap-8f, 0x1.18c2e2p-9f, -0x1.036844p-10f,
     -0x1.80537ap-9f, -0x1.0986cp-9f, -0x1.c2ba1cp-26f},
    {-0x1.fc56fap-17f, 0x1.6a4b36p-10f, 0x1.23044p-12f, -0x1.8d7f3ep-12f, -0x1.cc5142p-11f,
     -0x1.4c264ap-11f, 0x1.43d882p-13f, 0x1.65ca76p-12f}};

// (ln(1 + t) / t - 1) / t for the t of the last entry
template <int ENTRIES> constexpr float TAIL[] = {0};
template <> constexpr float TAIL<16>[] =  // error 2^-31.1
    {-0x1.fff9b6p-2f};
template <> constexpr float TAIL<8>[] =  // error 2^-31.1
    {-0x1.ffffe6p-2f, 0x1.553974p-2f, -0x1.eef1fap-3f};

// The same for bfloat16 and float16, from n = 0 on: low part, constant, coefficients of r, … r^4,
// so that all 65,536 results of either type round correctly. The last of 16 entries serves e^v and
// ln(1 + e^v) alike there.
template <int ENTRIES> constexpr float HALF_TABLE[6][ENTRIES] = {};
template <>  // no error after rounding
alignas(64) constexpr float HALF_TABLE<16>[6][16] = {
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
template <>  // no error after rounding
alignas(64) constexpr float HALF_TABLE<8>[6][8] = {
    {0x1.986cbep-26f, 0x1.90381cp-26f, -0x1.c753a4p-28f, 0x1.77d67cp-27f, 0x1.dd73cep-26f,
     0x1.04108ap-26f, 0x1.112522p-26f, 0x1.edf722p-27f},
    {0x1.ffffd8p-1f, 0x1.fc0bacp-1f, 0x1.f82848p-1f, 0x1.f0a212p-1f, 0x1.e2711ep-1f,
     0x1.c8ff8cp-1f, 0x1.9f323ep-1f, 0x1.62e42ep-1f},
    {0x1.fffd88p-1f, 0x1.f815eep-1f, 0x1.f0837p-1f, 0x1.e1ec42p-1f, 0x1.c7172ap-1f,
     0x1.999c12p-1f, 0x1.5555ep-1f, 0x1.fffffp-2f},
    {0x1.000a22p-1f, 0x1.efe77ep-2f, 0x1.e23d8ep-2f, 0x1.c629f8p-2f, 0x1.94843cp-2f,
     0x1.478ebcp-2f, 0x1.c72062p-3f, 0x1.001744p-3f},
    {0x1.56eb4p-3f, 0x1.440c58p-3f, 0x1.2c7e2ep-3f, 0x1.0865e2p-3f, 0x1.a59f3ap-4f,
     0x1.0424d8p-4f, 0x1.91478cp-6f, 0x1.be5022p-16f},
    {0x1.5026ap-5f, 0x1.4c6d2ap-5f, 0x1.7a64f4p-6f, 0x1.240972p-6f, 0x1.a1c5acp-7f,
     0x1.48c26p-9f, -0x1.9aa844p-8f, -0x1.7a5a8p-8f}};

// From where on an input is reflected, softplus(x) = x + softplus(-x)
constexpr float REFLECT_FROM = 0.6f, HALF_REFLECT_FROM = 0.34f;

}  // namespace
}  // namespace softplus
