//! The places of a source that can be changed, found again by where cargo-mutants says that they begin.

use std::collections::HashMap;
use std::ops::Range;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ReturnType, Type};

/// What stands at a place, in bytes of the source.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// The statements of a function; the type behind `impl`, if it returns one.
    Body {
        stmts: Range<usize>,
        returns: Option<Range<usize>>,
    },
    Binary {
        left: Range<usize>,
        right: Range<usize>,
        whole: Range<usize>,
    },
    Unary {
        operand: Range<usize>,
        whole: Range<usize>,
    },
    Guard {
        whole: Range<usize>,
    },
    /// Whether the match can do without it.
    Arm {
        pattern: Range<usize>,
        spare: bool,
    },
    Field {
        whole: Range<usize>,
        field: Range<usize>,
    },
}

/// All places of a source, by genre and line and column, from 1.
#[derive(Default)]
pub(crate) struct Places {
    found: HashMap<(&'static str, usize, usize), Place>,
    /// The keywords `const` of functions, and those functions.
    pub(crate) consts: Vec<(Range<usize>, Range<usize>)>,
    /// What is compiled for tests or fuzzing alone, and what is asked for while compiling.
    pub(crate) tests: Vec<Range<usize>>,
    pub(crate) fixed: Vec<Range<usize>>,
}

impl Places {
    pub(crate) fn of(source: &str) -> Result<Self, String> {
        let file = syn::parse_file(source).map_err(|error| error.to_string())?;
        let mut places = Self::default();
        places.visit_file(&file);
        Ok(places)
    }

    pub(crate) fn at(&self, genre: &str, (line, column): (usize, usize)) -> Option<&Place> {
        let genre =
            ["FnValue", "BinaryOperator", "UnaryOperator", "MatchArmGuard", "MatchArm", "StructField"]
                .into_iter()
                .find(|own| *own == genre)?;
        self.found.get(&(genre, line, column))
    }

    fn put(&mut self, genre: &'static str, at: Span, place: Place) {
        let start = at.start();
        self.found.insert((genre, start.line, start.column + 1), place);
    }

    fn body(&mut self, signature: &syn::Signature, block: &syn::Block) {
        if let Some(keyword) = signature.constness {
            self.consts.push((keyword.span.byte_range(), block.span().byte_range()));
        }
        let (Some(first), Some(last)) = (block.stmts.first(), block.stmts.last()) else { return };
        let returns = match &signature.output {
            ReturnType::Type(_, own) => match &**own {
                Type::ImplTrait(own) => {
                    Some(own.impl_token.span.byte_range().end..own.span().byte_range().end)
                }
                _ => None,
            },
            ReturnType::Default => None,
        };
        let stmts = first.span().byte_range().start..last.span().byte_range().end;
        self.put("FnValue", first.span(), Place::Body { stmts, returns });
    }

    fn note_tests(&mut self, attributes: &[Attribute], whole: Span) {
        let for_tests = |own: &Attribute| {
            let syn::Meta::List(list) = &own.meta else { return false };
            let said = list.tokens.to_string();
            list.path.is_ident("cfg")
                && !said.contains("not")
                && (said.contains("test") || said.contains("fuzzing"))
        };
        if attributes.iter().any(for_tests) {
            self.tests.push(whole.byte_range());
        }
    }
}

fn range(of: &impl Spanned) -> Range<usize> {
    of.span().byte_range()
}

impl<'ast> Visit<'ast> for Places {
    fn visit_item_fn(&mut self, own: &'ast syn::ItemFn) {
        self.note_tests(&own.attrs, own.span());
        self.body(&own.sig, &own.block);
        visit::visit_item_fn(self, own);
    }

    fn visit_impl_item_fn(&mut self, own: &'ast syn::ImplItemFn) {
        self.note_tests(&own.attrs, own.span());
        self.body(&own.sig, &own.block);
        visit::visit_impl_item_fn(self, own);
    }

    fn visit_trait_item_fn(&mut self, own: &'ast syn::TraitItemFn) {
        if let Some(block) = &own.default {
            self.body(&own.sig, block);
        }
        visit::visit_trait_item_fn(self, own);
    }

    fn visit_item_impl(&mut self, own: &'ast syn::ItemImpl) {
        self.note_tests(&own.attrs, own.span());
        visit::visit_item_impl(self, own);
    }

    fn visit_item_mod(&mut self, own: &'ast syn::ItemMod) {
        self.note_tests(&own.attrs, own.span());
        visit::visit_item_mod(self, own);
    }

    fn visit_item_const(&mut self, own: &'ast syn::ItemConst) {
        self.fixed.push(range(own));
        visit::visit_item_const(self, own);
    }

    fn visit_item_static(&mut self, own: &'ast syn::ItemStatic) {
        self.fixed.push(range(own));
        visit::visit_item_static(self, own);
    }

    fn visit_impl_item_const(&mut self, own: &'ast syn::ImplItemConst) {
        self.fixed.push(range(own));
        visit::visit_impl_item_const(self, own);
    }

    fn visit_expr_const(&mut self, own: &'ast syn::ExprConst) {
        self.fixed.push(range(own));
        visit::visit_expr_const(self, own);
    }

    fn visit_type_array(&mut self, own: &'ast syn::TypeArray) {
        self.fixed.push(range(own));
        visit::visit_type_array(self, own);
    }

    fn visit_expr_repeat(&mut self, own: &'ast syn::ExprRepeat) {
        self.fixed.push(range(&own.len));
        visit::visit_expr_repeat(self, own);
    }

    fn visit_generic_argument(&mut self, own: &'ast syn::GenericArgument) {
        if let syn::GenericArgument::Const(own) = own {
            self.fixed.push(range(own));
        }
        visit::visit_generic_argument(self, own);
    }

    fn visit_expr_binary(&mut self, own: &'ast syn::ExprBinary) {
        let (left, right, whole) = (range(&own.left), range(&own.right), range(own));
        self.put("BinaryOperator", own.op.span(), Place::Binary { left, right, whole });
        visit::visit_expr_binary(self, own);
    }

    fn visit_expr_unary(&mut self, own: &'ast syn::ExprUnary) {
        let (operand, whole) = (range(&own.expr), range(own));
        self.put("UnaryOperator", own.op.span(), Place::Unary { operand, whole });
        visit::visit_expr_unary(self, own);
    }

    fn visit_expr_match(&mut self, own: &'ast syn::ExprMatch) {
        let spare = own.arms.iter().any(|arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none());
        for arm in &own.arms {
            self.put("MatchArm", arm.span(), Place::Arm { pattern: range(&arm.pat), spare });
        }
        visit::visit_expr_match(self, own);
    }

    fn visit_arm(&mut self, own: &'ast syn::Arm) {
        if let Some((_, guard)) = &own.guard
            && !matches!(**guard, Expr::Let(_))
        {
            self.put("MatchArmGuard", guard.span(), Place::Guard { whole: range(guard) });
        }
        visit::visit_arm(self, own);
    }

    fn visit_expr_struct(&mut self, own: &'ast syn::ExprStruct) {
        for pair in own.fields.pairs() {
            let field = range(*pair.value());
            let field = field.start..pair.punct().map_or(field.end, |comma| range(*comma).end);
            self.put("StructField", pair.value().span(), Place::Field { whole: range(own), field });
        }
        visit::visit_expr_struct(self, own);
    }
}
