"""Vocabulary of the synthetic corpus, written for it: phrases for ten hallmarks of cancer, and sentence templates.

Phrases are separated by ``;``. A hallmark's phrases are in order from common to rare, which decides how often each is
used.
"""

from __future__ import annotations


def _phrases(block: str) -> tuple[str, ...]:
    """Split a block of text at semicolons, and join the lines of each phrase."""
    return tuple(" ".join(phrase.split()) for phrase in block.split(";") if phrase.strip())


TERMS = {
    "Activating invasion and metastasis": _phrases("""
        cell migration; invasion; metastasis; epithelial-mesenchymal transition; cell motility; lung metastases;
        extracellular matrix degradation; matrix metalloproteinase secretion; loss of E-cadherin; wound closure;
        spread to lymph nodes; liver colonisation; N-cadherin expression; invadopodia formation; bone lesions;
        vimentin levels; dissemination of tumour cells; transwell crossing; basement membrane breakdown;
        lamellipodia protrusion; distant spread; focal adhesion turnover; circulating tumour cells; Snail activity;
        peritoneal seeding; Twist expression; stromal infiltration; anchorage loss; brain colonisation; MMP-9 release;
        collagen cleavage; loss of cell-cell junctions; filopodia; chemotactic movement; secondary tumours in the lung;
        amoeboid crawling; tumour cell escape into vessels; extravasation; integrin-dependent spreading;
        tumour budding; nodal involvement; scattering of colonies; mesenchymal morphology; uPA-driven proteolysis;
        homing to bone marrow; actin-driven locomotion; skeletal deposits; matrigel penetration; satellite nodules;
        pleural dissemination"""),
    "Avoiding immune destruction": _phrases("""
        immune evasion; T-cell killing; PD-L1 expression; natural killer cell activity; regulatory T cells; immune
        surveillance; cytotoxic lymphocytes; antigen presentation; T-cell exhaustion; immune checkpoint signalling;
        MHC class I loss; immunosuppression; CTLA-4 blockade response; CD8 infiltration; tolerance to tumour antigens;
        dendritic cell maturation; myeloid-derived suppressor cells; escape from lymphocytes; anti-tumour immunity;
        interferon-driven recognition; vaccine response; neoantigen display; complement resistance; HLA downregulation;
        granzyme-mediated lysis; lymphocyte exclusion; immune ignorance; CAR-T cell recognition; B7-H1 upregulation;
        Foxp3-positive cells; host rejection of grafts; immunotherapy resistance; NKG2D ligand shedding; IDO activity;
        macrophage phagocytosis of tumour cells; CD47 signalling; perforin release; adaptive immunity; immune privilege;
        beta-2-microglobulin loss; T-cell anergy; immunogenicity; killer lymphocyte attack; cross-priming;
        abscopal rejection; TIM-3 engagement; antibody-dependent cytotoxicity; LAG-3 levels; peptide loading onto HLA;
        effector cell trafficking"""),
    "Cellular energetics": _phrases("""
        glucose uptake; aerobic glycolysis; the Warburg effect; lactate production; oxidative phosphorylation; glucose
        metabolism; mitochondrial respiration; ATP production; hexokinase activity; glutamine consumption; GLUT1
        expression; oxygen consumption; fatty acid synthesis; pyruvate kinase M2; lipid metabolism; energy metabolism;
        metabolic reprogramming; lactate dehydrogenase; the citric acid cycle; the pentose phosphate pathway;
        extracellular acidification; FDG accumulation; glycolytic flux; AMPK-controlled energy balance; glutaminolysis;
        NADPH supply; pyruvate oxidation; ketone use; serine biosynthesis; mitochondrial fuel choice; sugar dependence;
        bioenergetic capacity; fat burning; electron transport; succinate dehydrogenase; acetyl-CoA pools; amino acid
        catabolism; isocitrate dehydrogenase; proton leak; glycogen stores; creatine kinase flux; nutrient
        consumption; respiratory chain function; sugar fermentation; cholesterol synthesis; palmitate breakdown;
        PFKFB3 levels; monocarboxylate export; mitochondrial biogenesis; carbohydrate turnover"""),
    "Enabling replicative immortality": _phrases("""
        telomerase activity; senescence; telomere length; hTERT expression; immortalisation; replicative lifespan;
        telomere shortening; cellular ageing; unlimited replication; beta-galactosidase staining; TERT promoter
        activity; senescent cells; telomere maintenance; bypass of senescence; the Hayflick limit; population doublings;
        telomere erosion; cell immortality; alternative lengthening of telomeres; premature senescence; chromosome end
        protection; replicative exhaustion; endless passage in culture; shelterin binding; the crisis stage; TRF2
        loading; extended lifespan of fibroblasts; telomeric repeats; lifespan of keratinocytes; ageing phenotype;
        self-renewal without limit; oncogene-induced senescence; TERC levels; mortality stage two; permanent growth in
        culture; senescence-associated heterochromatin; POT1 function; cap loss at chromosome ends; long-term
        serial passaging; telomeric DNA attrition; culture beyond the natural lifespan; telomere uncapping; dyskerin;
        establishment of permanent lines; progeroid changes; TRAP assay signal; chromosome end lengthening;
        irreversible growth exit; flattened senescent morphology; terminal passage number"""),
    "Evading growth suppressors": _phrases("""
        cell cycle arrest; p53 function; Rb phosphorylation; p21 expression; contact inhibition; loss of tumour
        suppressors; G1 arrest; cyclin-dependent kinase inhibitors; the G2/M checkpoint; PTEN loss; p16 silencing;
        TGF-beta growth inhibition; checkpoint control; anti-growth signals; p27 degradation; tumour suppressor
        methylation; E2F release; G0 exit; growth inhibition; retinoblastoma protein; Hippo signalling; INK4A deletion;
        cytostasis; APC inactivation; BRCA1 silencing; merlin function; quiescence; S-phase entry control; MDM2 binding
        to p53; density-dependent arrest; SMAD4 loss; the restriction point; CDKN2A; VHL inactivation; NF1 loss;
        insensitivity to growth-inhibitory signals; cyclin D1-Rb axis; halt in G1; LKB1 silencing; YAP nuclear
        exclusion; ARF induction; tumour suppressor activity; growth restraint; pocket proteins; G1/S block; DCC loss;
        differentiation-linked arrest; CHK1 enforcement; WT1-mediated restraint; cell cycle brakes"""),
    "Genomic instability and mutation": _phrases("""
        DNA damage; DNA repair; genomic instability; mutation rate; double-strand breaks; chromosomal aberrations;
        mismatch repair; microsatellite instability; DNA adducts; aneuploidy; homologous recombination; point
        mutations; gamma-H2AX foci; micronuclei; chromosome breakage; mutagenesis; nucleotide excision repair;
        oxidative DNA lesions; sister chromatid exchange; copy number changes; translocations; genotoxicity; PARP
        activity; loss of heterozygosity; strand breaks; comet tails; base excision repair; ATM activation; G:C to T:A
        transversions; replication stress; chromosome missegregation; 8-oxoguanine; cross-link repair; gene
        amplification; genome integrity; centrosome amplification; frameshifts; RAD51 foci; non-homologous end joining;
        polyploidy; fragile sites; clastogenic effects; APOBEC signatures; spindle checkpoint defects; chromothripsis;
        hypermutation; karyotype abnormalities; MLH1 deficiency; stalled forks; somatic variants"""),
    "Inducing angiogenesis": _phrases("""
        angiogenesis; VEGF secretion; microvessel density; tube formation; neovascularisation; endothelial cell
        sprouting; blood vessel growth; vascular endothelial growth factor; tumour vasculature; HIF-1alpha-driven
        vessel growth; VEGFR2 signalling; vascularity; the angiogenic switch; capillary formation; vessel sprouting;
        tumour blood supply; CD31 staining; thrombospondin-1; vascular permeability; endothelial proliferation;
        angiopoietin-2; new vessels; pericyte coverage; angiostatin; tumour perfusion; vascular mimicry; chick membrane
        vessels; bevacizumab response; endothelial progenitor recruitment; endostatin; vessel branching; HUVEC
        network assembly; vascular density; basic FGF-driven vessels; capillary loops; placental growth factor;
        vascular remodelling; vessel normalisation; Tie2 signalling; lymphatic vessel growth; aortic ring outgrowth;
        blood flow to tumours; corneal vessel ingrowth; tip cell formation; hypoxia-driven vascularisation;
        arteriole formation; endoglin; neovessel maturation; PDGF-guided mural cells; leaky capillaries"""),
    "Resisting cell death": _phrases("""
        apoptosis; cell death; caspase-3 activation; Bcl-2 expression; programmed cell death; cell survival; PARP
        cleavage; annexin V staining; autophagy; cytochrome c release; resistance to apoptosis; necrosis; cell
        viability loss; Bax translocation; survivin levels; mitochondrial membrane collapse; TUNEL-positive cells; DNA
        laddering; death receptor signalling; TRAIL sensitivity; anoikis; Fas ligand; XIAP; necroptosis; caspase-9;
        Mcl-1 stability; sub-G1 cells; chemosensitivity; ferroptosis; survival signalling; nuclear fragmentation;
        cell killing; apoptotic bodies; Bim induction; cell suicide; p53-dependent death; drug-induced killing;
        caspase cascades; chromatin condensation; phosphatidylserine exposure; pyroptosis; BH3 mimetic response;
        autophagic vacuoles; LC3 conversion; Noxa and Puma; lysosomal death; membrane blebbing; cytotoxic killing;
        parthanatos; Smac release"""),
    "Sustaining proliferative signaling": _phrases("""
        proliferation; EGFR signalling; cell growth; ERK phosphorylation; growth factor signalling; Akt activation;
        Ki-67 staining; Ras activity; HER2 amplification; MAPK signalling; mitogenic signals; PI3K signalling; insulin-
        like growth factor; cyclin D1 levels; autocrine growth loops; BRAF activity; mTOR signalling; receptor tyrosine
        kinases; colony growth; DNA synthesis; cell division; oestrogen-driven growth; c-Myc expression; tumour growth
        rate; BrdU incorporation; mitotic index; Wnt signalling; STAT3-driven growth; EGF receptor ligands; PDGF
        secretion; growth factor independence; thymidine incorporation; MET activation; doubling time; SRC kinase;
        hormone-driven proliferation; FGFR fusion; MEK activity; KRAS-driven growth; kinase cascades downstream of
        receptors; JAK2 activity; heregulin; cell number increase; clonal expansion; beta-catenin-driven division;
        neuregulin loops; androgen receptor output; hyperplasia; PCNA labelling; constitutive kinase signalling"""),
    "Tumor promoting inflammation": _phrases("""
        inflammation; NF-kappaB activation; COX-2 expression; IL-6 secretion; inflammatory cytokines; macrophage
        infiltration; TNF-alpha release; chronic inflammation; prostaglandin E2; tumour-associated macrophages;
        neutrophil recruitment; IL-1beta; oxidative burst; colitis; inflammatory infiltrates; chemokine release;
        inflammasome activity; C-reactive protein; gastritis; mast cells; iNOS expression; hepatitis; IL-8 levels;
        leukocyte influx; cytokine storm; mucosal irritation; CCL2; Toll-like receptor signalling; pancreatitis;
        inflammatory mediators; reactive oxygen release by leukocytes; IL-17; monocyte recruitment; granuloma
        formation; cyclooxygenase activity; M2 polarisation; acute phase proteins; eosinophil infiltration;
        lipoxygenase products; inflamed stroma; Helicobacter-related irritation; leukotriene synthesis; S100A8;
        tissue swelling; bowel inflammation; CXCL1; myeloperoxidase; thromboxane; proinflammatory milieu; IL-23"""),
}

# Hallmarks that are often studied together.
COMPANIONS = {
    "Activating invasion and metastasis": ("Inducing angiogenesis", "Sustaining proliferative signaling"),
    "Avoiding immune destruction": ("Tumor promoting inflammation", "Resisting cell death"),
    "Cellular energetics": ("Sustaining proliferative signaling", "Inducing angiogenesis"),
    "Enabling replicative immortality": ("Evading growth suppressors", "Genomic instability and mutation"),
    "Evading growth suppressors": ("Resisting cell death", "Enabling replicative immortality"),
    "Genomic instability and mutation": ("Evading growth suppressors", "Resisting cell death"),
    "Inducing angiogenesis": ("Activating invasion and metastasis", "Tumor promoting inflammation"),
    "Resisting cell death": ("Sustaining proliferative signaling", "Evading growth suppressors"),
    "Sustaining proliferative signaling": ("Resisting cell death", "Activating invasion and metastasis"),
    "Tumor promoting inflammation": ("Avoiding immune destruction", "Activating invasion and metastasis"),
}

# Sentence templates. {a} is an agent, {c} are cells or tissue, {n} is a number, {t} is a phrase of the hallmark that
# the sentence asserts, {u} one of a hallmark that it only mentions.
ASSERTED = _phrases("""
    {a} increased {t} in {c}.; {a} reduced {t}.; we found that {a} suppressed {t} in {c}.; {a} was linked to {t}.;
    {t} rose after {a}.; {t} fell sharply once {c} received {a}.; {a} may promote {t}.; {a} might act through {t}.;
    our data suggest that {a} drives {t}.; {c} showed altered {t}.; the response to {a} depended on {t}.; {a} blocked
    {t} in {c}.; changes in {t} explained the effect of {a}.; {t} was higher in {c}.; {a} restored {t}.; {a} appears
    to control {t}.; in {c}, {a} triggered {t}.; {a} caused a {n}-fold change in {t}.; {t} mediated the action of
    {a}.; {c} responded to {a} with {t}.; {a} interfered with {t}.; {t} predicted poor outcome in {c}.; {a} enhanced
    {t} in a dose-dependent manner.; {a} is a key regulator of {t}.""")
DENIED = _phrases("""
    {a} had no effect on {u}.; {u} was unchanged in {c}.; no change in {u} was seen after {a}.; {a} failed to alter
    {u}.; {u} did not differ between groups.; {a} acted independently of {u}.; there was no evidence of {u} in {c}.;
    {u} remained stable under {a}.; {a} neither raised nor lowered {u}.; {c} lacked any sign of {u}.; {u} could not be
    detected.; {a} left {u} intact.; an influence of {a} on {u} was ruled out.; the rate of {u} was the same with and
    without {a}.; {u} played no part in the response of {c}.""")
ASIDE = _phrases("""
    whether {a} affects {u} is unknown.; {u} was not examined.; {u} has been reviewed elsewhere.; earlier reports on
    {a} dealt with {u}.; assays of {u} were beyond our scope.; in healthy volunteers, {u} was normal.; drugs against {u}
    are in use for other diseases.; a role of {a} in {u} was proposed long ago.; future work should address {u}.;
    patients selected for {u} were excluded.; textbooks name {u} first.; the kit for {u} came from a supplier.; in
    untreated control animals, {u} proceeded as usual.; little is known about {u} in {c}.""")
CONTRASTED = _phrases("""
    {a} altered {t} but not {u}.; {a} changed {t} without touching {u}.; rather than {u}, {a} affected {t}.; {u} was
    spared, yet {a} reduced {t}.; not {u} but {t} changed after {a}.; unlike {u}, {t} rose in {c}.; {a} increased {t}
    while {u} stayed constant.; {t}, not {u}, explained the effect of {a}.""")
FILLERS = _phrases("""
    samples from {n} patients were analysed.; expression was measured by quantitative PCR.; {c} were cultured for {n}
    hours.; the median follow-up was {n} months.; {a} was well tolerated.; we studied {a} in {c}.; survival was
    estimated by the Kaplan-Meier method.; further trials are needed.; {n} mice received {a}.; the mechanism of {a} is
    not fully understood.; staining was scored by two observers.; the dose of {a} was {n} mg.; a cohort of {n} cases was
    reviewed.; {a} is widely used in {c}.; data from {n} centres were pooled.; sequencing covered {n} samples.""")

AGENTS = _phrases("""
    curcumin; resveratrol; metformin; aspirin; cisplatin; tamoxifen; quercetin; green tea extract; vitamin D; selenium;
    genistein; arsenic; nicotine; ethanol; simvastatin; melatonin; berberine; doxorubicin; gefitinib; imatinib;
    radiation; heat shock; zinc; bisphenol A; retinoic acid; sulforaphane; caffeine; the compound; the inhibitor; the
    extract; the antibody; the new drug; treatment; combination therapy; miR-21; miR-34a; miR-200c; a fungal
    metabolite; a marine toxin; garlic oil; low-dose treatment; the peptide; dexamethasone; lithium; propofol""")
CHANGES = _phrases("knockdown of; overexpression of; loss of; silencing of; deletion of; inhibition of; mutant")
GENES = _phrases("""
    TRIM28; ZNF217; ANXA2; KLF4; SOX9; DDX3; RUNX3; GATA3; HOXA9; LIN28; PIN1; NEK2; TPX2; USP7; FBXW7; KDM5B; EZH2;
    CUL4A; BMI1; FOXM1; LMO2; PAX8; TBX3; SIRT1; HDAC2; DICER; YBX1; NPM1; STMN1; GRP78""")
CELLS = _phrases("""
    breast cancer cells; HeLa cells; glioma cells; melanoma cells; colon tumours; lung adenocarcinoma; xenografts;
    prostate cancer; leukaemia cells; hepatoma cells; ovarian tumours; gastric carcinoma; bladder cancer; fibroblasts;
    mouse skin; sarcoma; myeloma cells; primary tumours; lymphoma; thyroid nodules; renal carcinoma; neuroblastoma""")
