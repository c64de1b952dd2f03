# The public names, a block a home: type checkers read it, and so does __init__.py.
# ruff: noqa: I001
from .engine.analyses.bands import session_bands as session_bands
from .engine.analyses.charts import figure as figure
from .engine.analyses.compare import compare_groups as compare_groups
from .engine.analyses.compare_sessions import compare_sessions as compare_sessions
from .engine.analyses.compare_tables import curves_table_of as curves_table_of
from .engine.analyses.controls import control_nulls as control_nulls, controls_study as controls_study
from .engine.analyses.controls_split import parts_of as parts_of
from .engine.analyses.dose import dose_responses as dose_responses, dose_study as dose_study
from .engine.analyses.effects import collapse_study as collapse_study, effects_study as effects_study
from .engine.analyses.frames import frame as frame
from .engine.analyses.ledger import ledger_study as ledger_study
from .engine.analyses.pairs import pair_tables as pair_tables
from .engine.analyses.plane_finder import finder_study as finder_study
from .engine.analyses.planes import (
    basis_of as basis_of,
    held_out as held_out,
    plane_of as plane_of,
    with_plane as with_plane,
)
from .engine.analyses.registry import tables_in as tables_in
from .engine.analyses.survey import (
    cell_experiment as cell_experiment,
    survey_figure as survey_figure,
    survey_study as survey_study,
    survey_table as survey_table,
)
from .engine.errors import ExplorerError as ExplorerError
from .engine.execution.replay import replay as replay
from .engine.execution.run import run_experiment as run_experiment
from .engine.experiment import Experiment as Experiment, read_experiment as read_experiment
from .engine.figures.arithmetic import (
    arithmetic_points as arithmetic_points,
    without_clamped_axis as without_clamped_axis,
)
from .engine.figures.paper.page import draw as draw
from .engine.figures.session_overlays import (
    overlays_from_session as overlays_from_session,
    stored_bands as stored_bands,
)
from .engine.launch.notebook import (
    Findings as Findings,
    add_plane as add_plane,
    run as run,
    study as study,
    survey as survey,
)
from .engine.model.activations import ReadText as ReadText, neuron_usage as neuron_usage
from .engine.model.forcing import GivenText as GivenText, score_texts as score_texts
from .engine.model.load import load_model as load_model
from .engine.model.vocabulary import layer_weights as layer_weights
from .engine.model.weights import (
    final_logits as final_logits,
    neuron_activations as neuron_activations,
    w_in_columns as w_in_columns,
    w_out_rows as w_out_rows,
    weight_card as weight_card,
)
from .engine.model_analyses.patching import patching as patching
from .engine.model_analyses.run import run_model_study as run_model_study
from .engine.model_analyses.scoring import score_effects as score_effects
from .engine.model_analyses.token_logits import token_effects as token_effects
from .engine.paths import session_path as session_path, sessions_folder as sessions_folder
from .engine.prompts import load_prompt_set as load_prompt_set, read_prompt_set as read_prompt_set
from .engine.report.report import report as report
from .engine.report.script import script as script
from .engine.runs.manage import rename_session as rename_session
from .engine.runs.pack import Packed as Packed, pack_session as pack_session, unpack_session as unpack_session
from .engine.runs.trash import (
    Trashed as Trashed,
    delete_trashed as delete_trashed,
    find_trashed as find_trashed,
    restore_session as restore_session,
    trash_session as trash_session,
    trashed_sessions as trashed_sessions,
)
from .engine.session import (
    ComputedTest as ComputedTest,
    Ledger as Ledger,
    Session as Session,
    load_session as load_session,
    SurveyTables as SurveyTables,
    record_tests as record_tests,
    save_session as save_session,
    sessions_in as sessions_in,
)
from .engine.session.export import export as export, run_table as run_table
from .engine.session.imported import Split as Split, session_from as session_from
from .engine.session.schema import schema as schema
from .engine.session.source_files import import_session as import_session
from .engine.stats.bands import share_bands as share_bands, unit_counts as unit_counts
from .engine.stats.collapse import (
    CalibratedRule as CalibratedRule,
    PublishedRule as PublishedRule,
    collapse_rule as collapse_rule,
    health_matrix as health_matrix,
)
from .engine.stats.comparison import group_difference as group_difference
from .engine.stats.ensembles import (
    ensemble_cosines as ensemble_cosines,
    ensemble_of as ensemble_of,
    ensemble_sweep as ensemble_sweep,
)
from .engine.stats.dose_response import (
    curve_slopes as curve_slopes,
    isotonic as isotonic,
    monotone_test as monotone_test,
    saturation as saturation,
    unit_curves as unit_curves,
)
from .engine.stats.equivalence import (
    detectable_effect as detectable_effect,
    equivalence_test as equivalence_test,
    power_of as power_of,
    units_needed as units_needed,
)
from .engine.stats.groups import group_runs as group_runs
from .engine.stats.matching import (
    match_neurons as match_neurons,
    placebo_direction as placebo_direction,
    rank_p as rank_p,
)
from .engine.stats.nulls import null_curves as null_curves, partner_coordinates as partner_coordinates
from .engine.stats.pairings import pair as pair
from .engine.stats.permutation import (
    benjamini_hochberg as benjamini_hochberg,
    benjamini_yekutieli as benjamini_yekutieli,
    matched_blocks as matched_blocks,
    sign_flip_test as sign_flip_test,
)
from .engine.stats.planes import (
    coordinates as coordinates,
    neuron_plane as neuron_plane,
    plane_from_vectors as plane_from_vectors,
)
from .engine.stats.regions import joint_region as joint_region
from .engine.stats.resampling import (
    bca_interval as bca_interval,
    binomial_interval as binomial_interval,
    bootstrap_weights as bootstrap_weights,
    unit_totals as unit_totals,
)
from .engine.stats.spotlight import (
    spotlight_sweep as spotlight_sweep,
    sweep_groups as sweep_groups,
    unit_coordinates as unit_coordinates,
)
from .engine.stats.survey import rank_family as rank_family
from .engine.stats.text import compression_ratio as compression_ratio, text_metrics as text_metrics

__version__: str
