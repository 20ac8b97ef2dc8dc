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
// ln 2 as a float
constexpr float LN2_FLOAT = 0x1.62e43p-1f;

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

// The same for |r| <= ln2/16
constexpr float EXPM1_EIGHTH[] =  // error 2^-27.5
    {0x1p-1f, 0x1.555c22p-3f, 0x1.555874p-5f};
// 2^(j/8) e^d for j < 8, twice, as a float whose bits lack j in the place of eighths of an exponent;
// and the d with which it is nearly a float
alignas(64) constexpr float EIGHTHS[16] =
    {0x1p+0f, 0x1.f72b86p-1f, 0x1.f06fbp-1f, 0x1.ebfdb2p-1f, 0x1.ea09c4p-1f, 0x1.eace92p-1f,
     0x1.ee89f4p-1f, 0x1.f5817p-1f, 0x1p+0f, 0x1.f72b86p-1f, 0x1.f06fbp-1f, 0x1.ebfdb2p-1f,
     0x1.ea09c4p-1f, 0x1.eace92p-1f, 0x1.ee89f4p-1f, 0x1.f5817p-1f};
alignas(64) constexpr float EIGHTHS_CENTRES[16] =
    {0x0p+0f, 0x1.08p-23f, -0x1.47p-19f, 0x1.dp-23f, -0x1.85p-20f, 0x1.41p-19f, -0x1.a8p-23f,
     -0x1.04p-20f, 0x0p+0f, 0x1.08p-23f, -0x1.47p-19f, 0x1.dp-23f, -0x1.85p-20f, 0x1.41p-19f,
     -0x1.a8p-23f, -0x1.04p-20f};
// ln 2 / 8 in two parts, whose first times up to 2048 is exact
constexpr float LN2_EIGHTH_SHORT = 0x1.62ep-4f, LN2_EIGHTH_SHORT_REST = 0x1.0bfbe8p-18f;

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
// The same as floats
constexpr float LOG1P_FLOAT[] =  // error 2^-27.5
    {0x1p+0f, -0x1.ffffd2p-2f, 0x1.554dd8p-2f, -0x1.ff2518p-3f, 0x1.9353f2p-3f, -0x1.3a62aap-3f,
     0x1.b52c4ap-4f, -0x1.d7cf8ep-5f, 0x1.4a6fd6p-6f, -0x1.b1ee3ep-9f};

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
// The same as floats
constexpr float ENTROPY_GAP_FLOAT[] =  // error 2^-28.2
    {0x1p-3f, -0x1.ffffe8p-7f, 0x1.c715f2p-10f, -0x1.82403p-13f, 0x1.3bf91cp-16f,
     -0x1.c9d396p-20f, 0x1.a1abcp-24f};

// ln(1 + e^-a) for a up to 7.5: for each integer next to a the row of a centre v near it where the
// result is nearly a double, that result, and the coefficients of a - v, …
alignas(128) constexpr double DOUBLE_SEGMENTS[8][16] = {  // error 2^-55.8
    {0x1.0005dcp-2, 0x1.26e03fbc21482p-1, -0x1.c0535c751b51ap-2, 0x1.f814c98abc2b1p-4,
     -0x1.4e58243e13195p-8, -0x1.407623dec38bp-8, 0x1.0545265f50042p-11, 0x1.3d853c0bd95dcp-12,
     -0x1.99b0b686f6154p-15, -0x1.5afaf8dc8c3c7p-16, 0x1.3eb60955c7cc5p-18,
     0x1.85d2931db332ap-20, -0x1.e8c6f745a0c67p-22, -0x1.0303457230875p-23,
     0x1.12d3c840edc9p-25, 0x1.901bf5c22ef2bp-24},
    {0x1.00016fp+0, 0x1.40c6212e6482bp-2, -0x1.136440a554e31p-2, 0x1.92a83c37c6d95p-4,
     -0x1.f0356b22b02a2p-7, -0x1.81d1ed8fb5456p-10, 0x1.0dcd6b2aa8449p-10,
     -0x1.29608ea1612e9p-14, -0x1.d7ba93a1556bp-15, 0x1.d49ea90985854p-17,
     0x1.d26d40e120539p-20, -0x1.612d92dee85e6p-20, 0x1.7c7a77241f024p-24,
     0x1.700645b973709p-24, -0x1.4f2cbbb1e3258p-26, -0x1.9e9e4b8d10f16p-29},
    {0x1.0000f18p+1, 0x1.03f108aae1001p-3, -0x1.e83e275916f66p-4, 0x1.ae0b57076b29ep-5,
     -0x1.b4b21d94ca28ep-7, 0x1.a85ecf3649177p-10, 0x1.6b2f48d8199edp-13,
     -0x1.f9c86f6aca46bp-14, 0x1.62512cff96c36p-16, 0x1.3f78dd8c1dc5dp-20,
     -0x1.9047642aa23b8p-20, 0x1.55f561f07024bp-22, 0x1.3a49e4b7b2d79p-28,
     -0x1.5d1debd734899p-26, 0x1.4e8daf9ff3985p-28, -0x1.40ffdaacd093dp-34},
    {0x1.80002f8p+1, 0x1.8e067f93a8c3fp-5, -0x1.8482ba72d3b68p-5, 0x1.7215d63364054p-6,
     -0x1.bea49bd3fa2c3p-8, 0x1.67b1aaacd6695p-10, -0x1.47375e428449cp-13,
     -0x1.d0cc444c291bdp-18, 0x1.09aaccd3e5075p-17, -0x1.03e4837014f8ep-19,
     0x1.d99789f4bd89ap-23, 0x1.47c060b4758cp-26, -0x1.033f2eb611271p-26, 0x1.e82a3eb528f52p-29,
     -0x1.7110e808546fp-32, -0x1.f51fa3cc5bb6fp-35},
    {0x1.ffff368p+1, 0x1.2960209d1dd2ep-6, -0x1.26b169740ddb1p-6, 0x1.2164798f67a41p-7,
     -0x1.73f9e2b188a31p-9, 0x1.58f6cc8295a2fp-11, -0x1.d5034a29ae7c3p-14,
     0x1.a1ca8007ab686p-17, -0x1.7d1b238879dap-23, -0x1.56feaa11c9b4ep-22,
     0x1.910395f4d95bcp-24, -0x1.142d032587604p-26, 0x1.adc90e60396p-30, 0x1.4944bc46f343dp-34,
     -0x1.4be9dc1b4dfd5p-34, 0x1.478191d52e4b8p-36},
    {0x1.3fffdccp+2, 0x1.b819cbba68b95p-8, -0x1.b6a057ce59a3dp-8, 0x1.b3b0cebd75a8fp-9,
     -0x1.1e9287f6c19cbp-10, 0x1.16dfd5c62639bp-12, -0x1.a5efc80d3b7e7p-15,
     0x1.f359b9f5b4527p-18, -0x1.af1bf63920ad1p-21, 0x1.4cfe7732c88ddp-25,
     0x1.1cc0986818d05p-27, -0x1.a0a2bec03a9ep-29, 0x1.46a195e09d124p-31,
     -0x1.6e6d207796d49p-34, 0x1.0f9920d14a15bp-37, -0x1.6581e41ff194fp-42},
    {0x1.7fffa2cp+2, 0x1.44800d9ed303bp-9, -0x1.44194e3c46322p-9, 0x1.434c263401b96p-10,
     -0x1.acee77d339307p-12, 0x1.a8af0df3caf3ap-14, -0x1.4cfd10cf55c73p-16,
     0x1.aa1cd82f32bf2p-19, -0x1.bea624908ed7p-22, 0x1.6f80e7c89023ep-25,
     -0x1.7bfeeddca125fp-29, -0x1.c9369bcbb1b68p-34, 0x1.44f90decf2cb5p-34,
     -0x1.138d1d26b8158p-36, 0x1.65ee627a1f622p-39, -0x1.eda273b8a33edp-42},
    {0x1.c0002e8p+2, 0x1.dddd99d703f9fp-11, -0x1.dda5ddf3e088cp-11, 0x1.dd367782cdb2ep-12,
     -0x1.3d8fe9ba1d0ap-13, 0x1.3c6785aa0edfcp-15, -0x1.f68cbaa59e7d4p-18,
     0x1.4a1e5c3c25bf2p-20, -0x1.6e18d5e08bca5p-23, 0x1.57e3b2637e38fp-26,
     -0x1.0a9cd01766abp-29, 0x1.2f8e1242457a8p-33, -0x1.6e0e0b169b7ffp-39,
     -0x1.8caeeb5b6f96cp-40, 0x1.6b7a16e47bef8p-42, -0x1.39d79f6ecd723p-46}};

// The forward of float32: softplus on segments of width 1/2 in |x|, by polynomials in r = |x| - centre
// that are looked up. `python tools/fit_segments.py` goes through all floats for their largest errors.
// Rows: the centre; the coefficients of r^5, r^4, r^3, r^2, which serve both signs of x; those of
// r and 1 for x < 0, to which 1 and the centre are added for x > 0.
alignas(64) constexpr float SEGMENTS[7][15] = {
    {0x0p+0f, 0x1.986aap-2f, 0x1.0020ep+0f, 0x1.a19848p+0f, 0x1.fd7f2p+0f, 0x1.4d442cp+1f,
     0x1.7fd5ep+1f, 0x1.b9734cp+1f, 0x1.071c54p+2f, 0x1.2059b2p+2f, 0x1.3fdbfap+2f,
     0x1.6210cep+2f, 0x1.809e62p+2f, 0x1.a0418ep+2f, 0x1.c1bf88p+2f},
    {0x0p+0f, 0x1.c49afap-11f, 0x1.0ac21cp-10f, 0x1.416546p-11f, 0x1.6b80b6p-13f,
     -0x1.4f3bdcp-14f, -0x1.461b3p-13f, -0x1.33cc86p-13f, -0x1.d1cddcp-14f, -0x1.425cdap-14f,
     -0x1.a5841p-15f, -0x1.0986ap-15f, -0x1.4b8bd8p-16f, -0x1.9a348ap-17f, -0x1.f38324p-18f},
    {-0x1.533c74p-8f, -0x1.22b264p-8f, -0x1.82a736p-10f, 0x1.11102ep-10f, 0x1.a37a3p-10f,
     0x1.afafe2p-10f, 0x1.67ce76p-10f, 0x1.0bc286p-10f, 0x1.3929eap-11f, 0x1.ba8582p-12f,
     0x1.181abcp-12f, 0x1.4fb71p-13f, 0x1.a5cbb6p-14f, 0x1.0346aap-14f, 0x1.34bb8p-15f},
    {0x0p+0f, -0x1.0266dep-7f, -0x1.f0479cp-7f, -0x1.f6dd9p-7f, -0x1.b6c1d4p-7f,
     -0x1.2e1d52p-7f, -0x1.bf1b74p-8f, -0x1.320312p-8f, -0x1.4f62dap-9f, -0x1.cde52ep-10f,
     -0x1.1f2fa6p-10f, -0x1.54539ep-11f, -0x1.a8d5b6p-12f, -0x1.0421a2p-12f, -0x1.3506b6p-13f},
    {0x1.ffff3ep-4f, 0x1.ec2ad4p-4f, 0x1.92917ap-4f, 0x1.18527ep-4f, 0x1.b14402p-5f,
     0x1.06c8ep-5f, 0x1.7284aap-6f, 0x1.e92462p-7f, 0x1.03f042p-7f, 0x1.62297cp-8f,
     0x1.b4a1b8p-9f, 0x1.014886p-9f, 0x1.4031aep-10f, 0x1.875e86p-11f, 0x1.d06156p-12f},
    {-0x1p-1f, -0x1.9b3a6cp-2f, -0x1.134b88p-2f, -0x1.4f2ep-3f, -0x1.ec79f2p-4f,
     -0x1.1a3b6ep-4f, -0x1.84fd22p-5f, -0x1.f8b03ep-6f, -0x1.0832cp-6f, -0x1.661378p-7f,
     -0x1.b794e8p-8f, -0x1.024d5ap-8f, -0x1.40fb3ep-9f, -0x1.87f4f6p-10f, -0x1.d0cb46p-11f},
    {0x1.62e43p-1f, 0x1.06e6cp-1f, 0x1.40a45p-2f, 0x1.6e06p-3f, 0x1.0658ap-3f, 0x1.246d4p-4f,
     0x1.8e87p-5f, 0x1.005p-5f, 0x1.0a5ap-6f, 0x1.680cp-7f, 0x1.b91002p-8f, 0x1.02d002p-8f,
     0x1.416006p-9f, 0x1.88400cp-10f, 0x1.d1000cp-11f}};

// The forward of the half types: what Softplus lies above max(0, x), on segments of |x| of 1/2.75, as
// polynomials of degree 3 in |x|, so that all 65,536 results of either type round correctly. Rows:
// the coefficients from the highest on.
alignas(64) constexpr float HALF_SEGMENTS[4][16] = {
    {-0x1.76f2ep-11f, -0x1.b9481ap-8f, -0x1.9f38c6p-7f, -0x1.fd3678p-7f, -0x1.0cee02p-6f,
     -0x1.d3ebdep-7f, -0x1.ca28a4p-7f, -0x1.3b4736p-7f, -0x1.f03f28p-8f, -0x1.6306f6p-8f,
     -0x1.095e14p-8f, -0x1.97ee64p-9f, -0x1.012002p-9f, -0x1.9a81ep-10f, -0x1.fdd7p-11f,
     -0x1.840fc6p-11f},
    {0x1.000032p-3f, 0x1.069beep-3f, 0x1.197e9ap-3f, 0x1.28bcc2p-3f, 0x1.2fe05p-3f,
     0x1.1aa034p-3f, 0x1.18f814p-3f, 0x1.b720ap-4f, 0x1.7383a2p-4f, 0x1.225e72p-4f,
     0x1.d05396p-5f, 0x1.7a5e92p-5f, 0x1.056a5ap-5f, 0x1.b32138p-6f, 0x1.251638p-6f,
     0x1.d271bep-7f},
    {-0x1.ffffbcp-2f, -0x1.0057bep-1f, -0x1.02df1ep-1f, -0x1.0631ecp-1f, -0x1.08948ep-1f,
     -0x1.ffdb34p-2f, -0x1.002dfp-1f, -0x1.b9da3ep-2f, -0x1.8c78acp-2f, -0x1.4e4c82p-2f,
     -0x1.1beaa2p-2f, -0x1.e79d1p-3f, -0x1.6e9cap-3f, -0x1.3d3176p-3f, -0x1.cd6464p-4f,
     -0x1.7ee668p-4f},
    {0x1.62e42ep-1f, 0x1.62eaccp-1f, 0x1.63622cp-1f, 0x1.645b72p-1f, 0x1.656d6cp-1f,
     0x1.60b52ap-1f, 0x1.61a6bp-1f, 0x1.469c68p-1f, 0x1.324eb8p-1f, 0x1.128c88p-1f,
     0x1.eaf28ap-2f, 0x1.b90a1ap-2f, 0x1.65886p-2f, 0x1.4068bp-2f, 0x1.f44864p-3f,
     0x1.afa8a8p-3f}};
constexpr float HALF_SEGMENTS_IN_A_UNIT = 2.75f;

}  // namespace
}  // namespace softplus
