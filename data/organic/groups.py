"""Functional groups and the residues they are put on, as pieces of SMILES."""

CARBON_RESIDUES = ("", "C", "CC", "C=C", "C#C", "C9CC9", "C(C)C", "CCC", "CC=C", "CO", "CC=O", "CN", "COC")
"""What stands where a template has R: nothing (hydrogen), or a residue that begins with carbon."""

RESIDUES = (*CARBON_RESIDUES, "O", "N", "OC", "NC", "C#N", "C=O", "C(N)=O", "C(=O)O")
"""What stands where a template has X, on carbon."""

GROUPS: dict[str, tuple[str, ...]] = {
    "alkanes and alkenes": ("CXX", "CX=CX", "C(C)X=CX", "C=CXX"),
    "alkynes": ("CX#CX", "C(C#CX)X"),
    "allenes": ("CX=C=CX",),
    "dienes": ("CX=CC=CX", "C=CXC=C"),
    "ketenes": ("CXX=C=O", "NR=C=CX"),
    "alcohols": ("C(O)XR", "C(O)(C)RX"),
    "ethers": ("ORR", "COCX"),
    "peroxides": ("OROR", "CXOO"),
    "enols": ("C(O)=CX", "C(O)X=CX"),
    "aldehydes": ("C(=O)X", "C(=O)CX", "C(=O)C=CX"),
    "ketones": ("CR(=O)R", "CC(=O)CX"),
    "acids": ("OC(=O)X", "OC(=O)CX"),
    "esters": ("ORC(=O)X", "C(=O)OCX"),
    "amines": ("NRRR", "NRCX"),
    "enamines": ("NRRC=CX", "NCX=C"),
    "imines": ("CX=NR", "C(C)X=NR", "C(N)X=NR"),
    "hydrazines": ("NRRNR", "CX=NNR"),
    "azo": ("NR=NR", "CXN=NC"),
    "azides and diazo": ("NR=[N+]=[N-]", "CX=[N+]=[N-]", "CXN=[N+]=[N-]"),
    "nitriles": ("C(#N)CX", "C(#N)C=CX", "C(#N)NRR", "C(#N)OR"),
    "isonitriles": ("CX[N+]#[C-]", "C(=CX)[N+]#[C-]"),
    "isocyanates": ("NR=C=O", "CXN=C=O"),
    "nitro": ("CX[N+](=O)[O-]", "C(=CX)[N+](=O)[O-]", "OR[N+](=O)[O-]", "NRR[N+](=O)[O-]"),
    "nitroso": ("NR=O", "CXN=O", "ORN=O", "NRRN=O"),
    "oximes": ("CX=NO", "C(C)X=NO", "CX=NOC"),
    "hydroxylamines": ("NRROR",),
    "amides": ("NRRC(=O)X", "NRC(=O)CX"),
    "ureas and carbamates": ("NRRC(=O)NR", "NRRC(=O)OR"),
    "N-oxides": ("CX=[N+](C)[O-]", "CX=[NH+][O-]", "CX#[N+][O-]"),
    "acetals": ("CX(OR)OR", "CX(OR)NR"),
    "three-membered rings": ("C8XCC8", "C8XCC8C", "C8X=CC8", "C8XCO8", "C8XCN8", "N8RCC8", "C8XON8R"),
    "more three-membered rings": ("C8XN=N8", "C8X=NC8", "C8XOO8", "C8(=CX)CC8", "C8(=CX)CO8", "C8(C)XCO8"),
    "four-membered rings": ("C8XCCC8", "C8XCOC8", "C8XCNC8", "N8RCCC8", "C8X=CCC8", "O=C8CC8X", "C8XCCO8"),
    "more four-membered rings": ("O=C8OCC8X", "O=C8NRCC8", "C8XOOC8", "C8X=NCC8", "C8XOCO8", "C8(=CX)CCC8"),
    "five-membered rings": ("C8XCCCC8", "C8XCCOC8", "C8XCCNC8", "C8X=CCCC8", "C8XCOCO8", "O=C8CCCC8X"),
    "more five-membered rings": ("C8X=CCOC8", "C8X=NCCO8", "O=C8OCCC8X", "O=C8NRCCC8", "C8XC=CC=C8"),
    "five-membered heteroarenes": (
        "c8Xccco8", "c8Xcc[nH]c8", "n8(CX)cccc8", "c8Xcocn8", "c8Xcnoc8", "c8Xc[nH]cn8", "c8Xcn[nH]c8",
        "c8Xnnco8", "n8(CX)cnnc8", "n8(CX)nccn8", "c8Xnn[nH]n8",
    ),
    "six-membered heteroarenes": ("c8Xccncc8", "c8Xcccnc8", "c8Xncccn8", "c8Xcnccn8", "c8Xncncn8"),
    "six-membered rings": ("C8XCCCCC8", "C8XCCOCC8", "C8XCCNCC8", "C8X=CCCCC8"),
    "bicycles": ("C8C7CXC87", "C8CC7XCC87", "C87XCC8C7", "C8C7OC87X", "C8CC78CO7"),
}  # fmt: skip
"""Families and their templates. In templates rings have the numbers 8 and 7, in residues 9."""

LARGER_RESIDUES = (
    *RESIDUES, "C(C)=O", "C(=O)OC", "C(=O)NC", "OC(C)=O", "NC(C)=O",
    "N(C)C", "[N+](=O)[O-]", "C(C)(C)C", "C(C)O", "CCO", "CC#N",
    "CC(=O)O", "OCC", "c9ccccc9", "Cc9ccccc9", "Oc9ccccc9", "c9cccnc9", "c9ccco9", "c9cc[nH]c9", "C9CCCC9", "N9CCOCC9",
)  # fmt: skip
"""What stands where a template of `LARGER_GROUPS` has X."""

LARGER_GROUPS: dict[str, tuple[str, ...]] = {
    "benzenes": (
        "c8Xccccc8", "c8Xc(O)cccc8", "c8Xc(C)cccc8", "c8Xcc(N)ccc8",
        "c8Xccc(OC)cc8", "c8XcXcccc8", "c8XcccXcc8",
    ),
    "pyridines and diazines": (
        "c8Xccncc8", "c8Xcc(C)cnc8", "n8cXccc(O)c8",
        "c8Xnccc(N)n8", "O=c8cXccc[nH]8", "c8Xnc(C)cnc8",
    ),
    "larger heteroarenes": (
        "c8Xcc(C)co8", "c8XccX[nH]c8", "n8(C)cXccn8", "c8XncXco8",
        "n8(C)cXnnc8", "O=c8cXcocc8", "c8Xonc(C)c8",
    ),
    "fused arenes": (
        "c8Xccc7ccoc7c8", "n8(C)cXcc7ccccc87", "c8Xccc7ncccc7c8",
        "c8Xccc7[nH]cnc7c8", "c8Xccc7OCOc7c8", "c8Xncc7cccn7c8",
    ),
    "larger rings": (
        "C8XCCCCC8X", "C8XCCCCCC8", "O=C8CCCCC8X", "C8X=CCCCC8=O",
        "N8(C)CCXCC8", "C8XCOC(C)OC8", "O=C8NRC(=O)CC8X",
    ),
    "larger bicycles": (
        "C8C7CCC8XCC7", "C8CC7CCC8XO7", "C8XCC7CC7C8",
        "C8CCC7XCCCC87", "C8XC7CC8C=C7", "O=C8CCC7XCC87",
    ),
    "amino acids and peptides": ("NCXC(=O)O", "NCXC(=O)N", "CC(=O)NCXC=O", "NCC(=O)NCX", "C(=O)NC(C)C(=O)NX"),
    "sugars and polyols": ("OCC(O)C(O)X", "O8C(O)C(O)CC8X", "OC8COCXC8O", "OCC(O)CX"),
    "larger esters and acids": (
        "CCOC(=O)CX", "OC(=O)CCX", "OC(=O)C=CX",
        "COC(=O)C(=C)X", "CC(=O)OCX", "O=C8OC(=O)CC8X",
    ),
    "larger ketones and aldehydes": ("CC(=O)CCX", "O=CC(C)X", "CC(=O)C(=C)X", "O=CC=CX", "CC(=O)C(C)X", "CC(=O)C=CX"),
    "larger amines and amides": (
        "CN(C)CX", "CNCCX", "CC(=O)N(C)X", "NC(=O)CCX",
        "CNC(=O)NX", "N8CCNXCC8", "CN(C)C(=O)X",
    ),
    "larger ethers and alcohols": ("COCCOX", "COC(C)X", "CC(O)CCX", "CCOC(C)OX", "OC(C)(C)X", "C=CCOX"),
    "larger hydrocarbons": ("CC(C)CX", "C=CC=CCX", "CC#CCX", "CC(C)=CX", "CCCCCX", "C=C(C)C(C)X"),
    "larger groups of nitrogen": ("CN=NX", "CC(C)=NX", "C=NNX", "ON=C(C)X", "N#CCCX", "CON=CX", "NN(C)X", "CC(=NO)X"),
    "conjugated": ("C=CC(=O)X", "O=CC=CC=CX", "N#CC=CX", "NC=CC(=O)X", "COC=CC(=O)X", "CN(C)C=CX"),
}  # fmt: skip
"""Families of molecules of six to twelve heavy atoms, as `GROUPS`."""

HETERO_GROUPS: dict[str, tuple[str, ...]] = {
    "fluorides": ("FCX", "FCX(F)R", "FCX=CR", "FC(=O)R", "FC#CR"),
    "chlorides": ("ClCX", "ClCX(C)R", "ClCX=CR", "ClC(=O)R", "ClC#CR"),
    "thiols and sulfides": ("SCX", "SRR", "SRSR", "SCX=C", "SRC(=O)R", "SRCX"),
    "thiocarbonyls": ("S=CXR", "S=C(N)R", "NR=C=S", "SRC#N"),
    "sulfoxides and sulfones": ("O=SRC", "O=S(=O)RC", "O=S(=O)RN", "O=S(O)R", "O=S(=O)(O)R"),
    "phosphanes": ("PCX", "PRRC", "PRC=C", "PRRO"),
    "phosphine oxides and acids": ("O=PR(C)C", "O=PR(O)O", "O=PRRO"),
    "rings": ("C8XCS8", "c8Xcccs8", "c8Xcscn8", "C8XCSC8", "FC8XCC8", "ClC8XCC8", "FC8XCO8"),
}
"""The same with F, S, Cl and P."""

FORBIDDEN = (
    "[O,N;!$([N+])][O;!$(ON=O)][O,N]",  # chains of three of O and N; the small ones are in the list by hand
    "[NX3]-[NX3]-[NX3]",
    "[CX4]([OH,NH2])([OH,NH2])[OH,NH2]",
    "[CX4]([OH,NH2])-[O]-[O]",
    "C(#N)C#N",
    "[OX2,NX3]C#C[OX2,NX3]",
    "[C;r3]=[C;r3][OX2,NX3]",
    "[F,Cl][N,O,S,P]",
)
"""SMARTS of what falls apart without a barrier or is in excess."""
