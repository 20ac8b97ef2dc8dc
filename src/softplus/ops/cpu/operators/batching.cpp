// The operators under vmap: each computes every element by itself, so a batch is one more
// dimension.
#include <ATen/functorch/BatchedTensorImpl.h>
#include <ATen/functorch/DynamicLayer.h>
#include <ATen/functorch/PlumbingHelper.h>
#include <torch/library.h>

#include "operators.h"

namespace softplus {
namespace {

using at::Tensor;
namespace functorch = at::functorch;

// The dimension that one level of vmap runs over, of the tensors of one call.
class Batch {
 public:
  template <typename... Arguments>
  explicit Batch(const Arguments&... arguments) {
    const auto layer = functorch::maybeCurrentDynamicLayer();
    TORCH_CHECK(layer, "softplus: a tensor of vmap is used outside of the function it belongs to");
    level_ = layer->layerId();
    (look_at(arguments), ...);
  }

  // A tensor with that dimension in front; a number as it is.
  template <typename Argument>
  Argument operator()(const Argument& argument) const {
    if constexpr (std::is_same_v<Argument, Tensor>) {
      const auto [value, dimension] = functorch::unwrapTensorAtLevel(argument, level_);
      if (dimension) return alike_ ? value : value.movedim(*dimension, 0);
      if (!size_) return value;
      std::vector<c10::SymInt> sizes = value.sym_sizes().vec();
      sizes.insert(sizes.begin(), *size_);
      return value.expand_symint(sizes);
    } else {
      return argument;
    }
  }

  Tensor back(const Tensor& result) const {
    if (!size_) return result;
    return functorch::makeBatched(result, alike_ ? *dimension_ : 0, level_);
  }
  template <typename... Results>
  std::tuple<Results...> back(const std::tuple<Results...>& results) const {
    return std::apply([&](const auto&... each) { return std::make_tuple(back(each)...); }, results);
  }

 private:
  template <typename Argument>
  void look_at(const Argument& argument) {
    if constexpr (std::is_same_v<Argument, Tensor>) {
      const auto [value, dimension] = functorch::unwrapTensorAtLevel(argument, level_);
      if (dimension) size_ = value.sym_size(*dimension);
      alike_ = alike_ && dimension && (!dimension_ || *dimension_ == *dimension);
      dimension_ = dimension;
    }
  }

  int64_t level_ = 0;
  std::optional<c10::SymInt> size_;
  std::optional<int64_t> dimension_;
  bool alike_ = true;  // the dimension is the same one in every tensor: none needs to move
};

template <auto operation>
struct Batched;
template <typename Result, typename... Arguments, Result (*operation)(Arguments...)>
struct Batched<operation> {
  static Result call(Arguments... arguments) {
    const c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::FuncTorchBatched);
    const Batch batch(arguments...);
    return batch.back(operation(batch(arguments)...));
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(softplus, FuncTorchBatched, m) {
  m.impl("forward", Batched<&forward>::call);
  m.impl("backward", Batched<&backward>::call);
  m.impl("double_backward", Batched<&double_backward>::call);
  m.impl("shifted", Batched<&shifted>::call);
  m.impl("inverse", Batched<&inverse>::call);
  m.impl("forward_each", Batched<&forward_each>::call);
  m.impl("backward_each", Batched<&backward_each>::call);
  m.impl("double_backward_each", Batched<&double_backward_each>::call);
}

}  // namespace softplus
