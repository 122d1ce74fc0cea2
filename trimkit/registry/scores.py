"""Records of trimkit's own attributions, which score coefficients, and of its penalties, which judge the scores."""

from __future__ import annotations

from trimkit.hooks import AttributionSpec, PenaltySpec
from trimkit.registry.captum import captum_attributions

ATTRIBUTIONS: tuple[AttributionSpec, ...] = (
    AttributionSpec(
        "saliency",
        "trimkit.attributions.gradient:Saliency",
        "Magnitude of the gradient: how fast the output changes with each coefficient.",
        "Simonyan et al. 2013, arXiv:1312.6034",
    ),
    AttributionSpec(
        "input_x_gradient",
        "trimkit.attributions.gradient:InputXGradient",
        "Coefficient times gradient: the contributions of a model that were linear.",
        "Shrikumar et al. 2016, arXiv:1605.01713",
    ),
    AttributionSpec(
        "integrated_gradients",
        "trimkit.attributions.gradient:IntegratedGradients",
        "Gradients averaged from the baseline to the point: contributions that sum to the change of the output.",
        "Sundararajan et al. 2017, arXiv:1703.01365",
    ),
    AttributionSpec(
        "expected_gradients",
        "trimkit.attributions.stochastic:ExpectedGradients",
        "Integrated gradients over reference samples, by random draws: cheap enough for every training step.",
        "Erion et al. 2021, arXiv:1906.10670",
    ),
    AttributionSpec(
        "gradient_shap",
        "trimkit.attributions.stochastic:GradientShap",
        "Expected gradients with noise on the explained sample.",
        "Lundberg, Lee 2017, arXiv:1705.07874",
    ),
    AttributionSpec(
        "smoothgrad",
        "trimkit.attributions.stochastic:SmoothGrad",
        "Saliency averaged over noisy copies of the sample.",
        "Smilkov et al. 2017, arXiv:1706.03825",
    ),
    AttributionSpec(
        "gradient_of_loss",
        "trimkit.attributions.gradient:GradientOfLoss",
        "Gradient of the summed log-probabilities, or of the cross-entropy: right for the right reasons.",
        "Ross et al. 2017, arXiv:1703.03717, eq. 1",
    ),
    AttributionSpec(
        "feature_ablation",
        "trimkit.attributions.perturbation:FeatureAblation",
        "Change of the output when a named group of coefficients is set to the baseline.",
    ),
    AttributionSpec(
        "occlusion",
        "trimkit.attributions.perturbation:Occlusion",
        "Change of the output when a sliding window of coefficients is set to the baseline.",
        "Zeiler, Fergus 2014, arXiv:1311.2901",
    ),
    AttributionSpec(
        "contextual_decomposition",
        "trimkit.attributions.contextual:ContextualDecomposition",
        "Part of the output due to a group of coefficients, with the rest of the input as its context.",
        "Murdoch et al. 2018, arXiv:1801.05453; Singh et al. 2019, arXiv:1806.05337",
    ),
    AttributionSpec(
        "layerwise_relevance",
        "trimkit.attributions.relevance:LayerwiseRelevance",
        "Relevance passed back through attention, norms and activations; sums exactly to the change of the output.",
        "Achtibat et al. 2024, arXiv:2402.05602; Shrikumar et al. 2017, arXiv:1704.02685",
    ),
    *captum_attributions(),
)

PENALTIES: tuple[PenaltySpec, ...] = (
    PenaltySpec(
        "l1",
        "trimkit.penalties.sparsity:l1",
        "Sum of magnitudes: few coefficients should matter.",
        "Ha et al. 2021, arXiv:2107.09145",
    ),
    PenaltySpec(
        "hoyer",
        "trimkit.penalties.sparsity:hoyer",
        "Hoyer sparsity, 1 for a single score and 0 for equal ones, whatever their scale.",
        "Hoyer 2004, JMLR 5:1457",
    ),
    PenaltySpec(
        "masked",
        "trimkit.penalties.mask:masked",
        "Squared scores in forbidden coefficients: right for the right reasons.",
        "Ross et al. 2017, arXiv:1703.03717, eq. 1",
    ),
    PenaltySpec(
        "gini",
        "trimkit.penalties.sparsity:gini",
        "Gini coefficient, 0 for equal scores and near 1 for a single one, whatever their scale.",
        "Erion et al. 2021, arXiv:1906.10670",
    ),
    PenaltySpec(
        "entropy",
        "trimkit.penalties.sparsity:entropy",
        "Entropy of the scores' shares: 0 where one coefficient has all of it.",
        "Shannon 1948, doi:10.1002/j.1538-7305.1948.tb01338.x",
    ),
    PenaltySpec(
        "group_l1",
        "trimkit.penalties.sparsity:group_l1",
        "Sum of the groups' norms: few groups should matter.",
        "Yuan, Lin 2006, doi:10.1111/j.1467-9868.2005.00532.x",
    ),
    PenaltySpec(
        "l0_gate",
        "trimkit.penalties.gate:l0_gate",
        "A smooth number of coefficients that matter: expected open hard-concrete gates.",
        "Louizos et al. 2018, arXiv:1712.01312, eq. 12",
    ),
    PenaltySpec(
        "total_variation",
        "trimkit.penalties.smoothness:total_variation",
        "Differences of neighbouring scores: importance should vary smoothly.",
        "Erion et al. 2021, arXiv:1906.10670",
    ),
    PenaltySpec(
        "monotone_gradient",
        "trimkit.penalties.monotonicity:monotone_gradient",
        "Hinge on signed gradients: the output should rise, or fall, with given coefficients.",
        "Gupta et al. 2019, arXiv:1909.10662; Liu et al. 2020, arXiv:2011.10219",
    ),
    PenaltySpec(
        "monotone_order",
        "trimkit.penalties.monotonicity:monotone_order",
        "Hinge on neighbouring groups: importance should fall, or rise, along bands, scales or latents.",
    ),
    PenaltySpec(
        "isotonic",
        "trimkit.penalties.monotonicity:isotonic",
        "Squared distance of the groups' importance to the nearest monotone sequence.",
        "Robertson, Wright, Dykstra 1988, Order Restricted Statistical Inference",
    ),
    PenaltySpec(
        "agreement",
        "trimkit.penalties.agreement:agreement",
        "Distance to a given map: 1 − cosine, or the mean square.",
    ),
    PenaltySpec(
        "contrast",
        "trimkit.penalties.mask:contrast",
        "Bounded share of forbidden contributions against the rest, as in CDEP.",
        "Rieger et al. 2020, arXiv:1909.13584",
    ),
)
